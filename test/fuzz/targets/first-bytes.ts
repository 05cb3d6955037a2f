import assert from 'node:assert/strict';
import { judge } from '../../../waypoint/http/detect.ts';
import { GrpcMessageCounter } from '../../../waypoint/http/grpc-messages.ts';
import type { FuzzTarget } from '../engine/target.ts';

/** The first bytes of a client, by which its protocol is found out; and the frames of a gRPC body. */
export const target: FuzzTarget = {
  name: 'first-bytes',
  seeds: [
    'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n',
    'GET / HTTP/1.1\r\nHost: a\r\n\r\n',
    'VERSION-CONTROL * HTTP/1.1\r\n\r\n',
    Buffer.from('16030100c8010000c40303', 'hex'),
    'SSH-2.0-OpenSSH_9.2\r\n',
    'PROXY TCP4 198.18.0.1 198.18.0.2 1 2\r\nGET / HTTP/1.1\r\n\r\n',
    Buffer.from('0d0a0d0a000d0a515549540a2111000c', 'hex'),
    'PRI * HTTP/1.1\r\n\r\n',
  ],
  maxLength: 256,
  run(input) {
    let decided: string | undefined;
    for (let length = 0; length <= input.length; length += 1) {
      const now = judge(input.subarray(0, length));
      // How the bytes arrive must not change what they are.
      if (decided !== undefined) assert.equal(now, decided, `changed after ${length} bytes`);
      decided ??= now;
    }
    if (input.length >= 25) assert.notEqual(decided, undefined, 'bounded: 25 bytes are enough');
    if (decided === 'http2') assert.equal(input.subarray(0, 14).toString(), 'PRI * HTTP/2.0');
    if (decided === 'http1') assert.match(input.toString('latin1'), /^[A-Z-]+ [A-Za-z0-9/*[]/);
    const [whole, split] = [new GrpcMessageCounter(), new GrpcMessageCounter()];
    whole.add(input);
    for (const byte of input) split.add(Buffer.of(byte));
    assert.equal(whole.count, split.count, 'messages are counted alike however they are cut');
  },
};
