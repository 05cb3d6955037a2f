import assert from 'node:assert/strict';
import { once } from 'node:events';
import http2 from 'node:http2';
import net, { type AddressInfo } from 'node:net';
import { afterEach, beforeEach, describe, it } from 'mocha';
import { HeadWatch } from '../../../../../lib/mesh/hbone/head-watch.ts';
import { StreamIntake } from '../../../../../lib/mesh/hbone/stream-intake.ts';
import { endSession } from '../../../../../lib/mesh/hbone/stream-reset.ts';
import { Turn } from '../../../../../lib/mesh/hbone/turn.ts';
import { GET_FIELDS } from '../../../../support/hostile/floods.ts';
import { frame, headerBlock, HEADERS, PREFACE, RawHttp2 } from '../../../waypoint/support/raw-http2.ts';

const MANY = Array.from({ length: 100 }, (_, i) => [`x-${i}`, '1'] as const);

describe('lib/mesh/hbone/head-watch', () => {
  let server: http2.Http2Server;
  let watch: HeadWatch;
  let session: http2.ServerHttp2Session;
  let client: RawHttp2;
  let bad: number;
  let refused: string[];
  let mayWaste: boolean;

  beforeEach(async () => {
    [bad, refused, mayWaste] = [0, [], true];
    watch = new HeadWatch();
    server = http2.createServer({ maxHeaderListPairs: 50 });
    server.on('session', (each) => {
      session = each;
      session.on('error', () => undefined);
      const intake = new StreamIntake(new Turn(), 100, {
        isWasteAllowed: () => true,
        areBadHeadsAllowed: (count, bytes) => {
          assert.ok(bytes > 0);
          bad += count;
          return mayWaste;
        },
        refuse: (reason) => {
          refused.push(reason);
          endSession(session, http2.constants.NGHTTP2_ENHANCE_YOUR_CALM);
        },
      });
      watch.add(session, intake);
      session.on('stream', (stream) => {
        stream.on('error', () => undefined);
        intake.take(stream, () => stream.respond({ ':status': 200 }));
      });
    });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    client = new RawHttp2(net.connect((server.address() as AddressInfo).port, '127.0.0.1'));
    client.send(PREFACE);
  });
  afterEach(() => {
    client.close();
    server.close();
  });

  const head = (id: number, flags = 5, fields = GET_FIELDS): Buffer =>
    frame(HEADERS, flags, id, headerBlock(fields));

  it('counts no request that was taken', async () => {
    client.send(Buffer.concat([1, 3, 5, 7].map((id) => head(id))));
    assert.equal(await client.outcome(7), 'status 200');
    watch.look();
    assert.equal(bad, 0);
  });

  it('counts heads that are too long or broken, each once', async () => {
    client.send(
      Buffer.concat([head(1), head(3, 5, [...GET_FIELDS, ...MANY]), head(5), head(7, 5, [['A', '1']])]),
    );
    assert.equal(await client.outcome(3), 'reset 11');
    assert.equal(await client.outcome(7), 'reset 1');
    watch.look();
    watch.look();
    assert.equal(bad, 2);
    client.send(head(9, 5, [...GET_FIELDS, ...MANY]));
    assert.equal(await client.outcome(9), 'reset 11');
    watch.look();
    assert.equal(bad, 3);
  });

  it('counts trailers that are too long', async () => {
    client.send(Buffer.concat([head(1, 4), frame(HEADERS, 5, 1, headerBlock(MANY))]));
    await client.until(() => client.frames.find(({ type }) => type === 3));
    watch.look();
    assert.equal(bad, 1);
  });

  it('ends a session whose peer may not, and looks after none that is closed', async () => {
    mayWaste = false;
    client.send(head(1, 5, [...GET_FIELDS, ...MANY]));
    assert.equal(await client.outcome(3), 'goaway 11');
    assert.deepEqual(refused, ['too-many-bad-heads']);
    if (!session.closed) await once(session, 'close');
    watch.look();
    assert.equal(watch.size, 0);
  });
});
