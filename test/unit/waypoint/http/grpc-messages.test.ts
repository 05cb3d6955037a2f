import assert from 'node:assert/strict';
import fc from 'fast-check';
import { describe, it } from 'mocha';
import { GrpcMessageCounter } from '../../../../waypoint/http/grpc-messages.ts';

/** Messages with their prefixes: a flag byte and four of length (gRPC over HTTP/2). */
function stream(lengths: readonly number[]): Buffer {
  return Buffer.concat(
    lengths.map((length) => {
      const message = Buffer.alloc(5 + length, 0xff);
      message[0] = 0;
      message.writeUInt32BE(length, 1);
      return message;
    }),
  );
}

describe('waypoint/http/grpc-messages', () => {
  it('counts the messages of a stream wherever it is cut', () => {
    fc.assert(
      fc.property(
        fc.array(fc.nat(300), { maxLength: 20 }),
        fc.array(fc.integer({ min: 1, max: 40 }), { minLength: 1 }),
        (lengths, cuts) => {
          const counter = new GrpcMessageCounter();
          const bytes = stream(lengths);
          for (let at = 0, n = 0; at < bytes.length; n += 1) {
            const size = cuts[n % cuts.length] ?? 1;
            counter.add(bytes.subarray(at, at + size));
            at += size;
          }
          assert.equal(counter.count, lengths.length);
        },
      ),
    );
  });

  it('counts a message by its prefix, before its last byte', () => {
    const counter = new GrpcMessageCounter();
    counter.add(stream([10]).subarray(0, 4));
    assert.equal(counter.count, 0);
    counter.add(stream([10]).subarray(4, 6));
    assert.equal(counter.count, 1);
  });

  it('knows lengths of which the highest bit is set', () => {
    const counter = new GrpcMessageCounter();
    counter.add(Buffer.from([0, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0, 0, 0]));
    assert.equal(counter.count, 1);
  });
});
