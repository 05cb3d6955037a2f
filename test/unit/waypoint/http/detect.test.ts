import assert from 'node:assert/strict';
import type { Duplex } from 'node:stream';
import { afterEach, beforeEach, describe, it } from 'mocha';
import { detectProtocol, judge, type Detected } from '../../../../waypoint/http/detect.ts';
import { readAll, StreamPairs, turns } from '../support/streams.ts';

const PREFACE = 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n';
const LONG_MS = 60_000;

describe('waypoint/http/detect', () => {
  let pairs: StreamPairs;

  beforeEach(() => (pairs = new StreamPairs()));
  afterEach(() => pairs.close());

  const cases: [bytes: string, what: Detected | undefined][] = [
    ['', undefined],
    ['GET / HTTP/1.1\r\n', 'http1'],
    ['G', undefined],
    ['GET', undefined],
    ['GET ', undefined],
    ['GET /', 'http1'],
    ['OPTIONS *', 'http1'],
    ['GET http://x/ HTTP/1.1', 'http1'],
    ['CONNECT 10.0.0.1:80', 'http1'],
    ['GET [::1]:80', 'http1'],
    ['M-SEARCH /', 'http1'],
    ['PRI', undefined],
    [PREFACE.slice(0, -1), undefined],
    [PREFACE, 'http2'],
    [`${PREFACE}\0\0`, 'http2'],
    // Begins like the preface and goes on otherwise.
    ['PRI * HTTP/1.1', 'http1'],
    ['PRIVATE /', 'http1'],
    ['get /', 'opaque'],
    [' GET /', 'opaque'],
    ['GET \x00', 'opaque'],
    ['GET  /', 'opaque'],
    ['\x16\x03\x01\x02\x00', 'opaque'],
    ['\x00', 'opaque'],
    ['SSH-2.0-x', 'opaque'],
    ['A'.repeat(23), undefined],
    ['A'.repeat(24), 'opaque'],
  ];
  for (const [bytes, what] of cases) {
    it(`takes ${JSON.stringify(bytes.slice(0, 30))} for ${what ?? 'too little to tell'}`, () => {
      assert.equal(judge(Buffer.from(bytes, 'latin1')), what);
    });
  }

  it('tells the same wherever the bytes are cut', () => {
    for (const [bytes, what] of cases) {
      const all = Buffer.from(bytes, 'latin1');
      const told = [...all.keys()].map((i) => judge(all.subarray(0, i + 1))).filter((w) => w !== undefined);
      assert.deepEqual(new Set(told), new Set(what === undefined ? [] : [what]), bytes);
    }
  });

  for (const kind of ['http2', 'tcp'] as const) {
    describe(`on a stream of ${kind}`, () => {
      it('leaves every byte to be read, however it was cut', async () => {
        for (const [text, what] of [
          ['GET /x HTTP/1.1\r\n\r\n', 'http1'],
          [`${PREFACE}rest`, 'http2'],
        ] as const) {
          for (const cut of [1, 3, 4, 5, text.length - 1]) {
            const { near, far } = await pairs[kind]();
            const detected = detectProtocol(far, { timeoutMs: LONG_MS });
            near.write(text.slice(0, cut));
            await turns(5);
            near.end(text.slice(cut));
            assert.equal(await detected, what);
            assert.equal(await readAll(far), text, `cut at ${cut}`);
          }
        }
      });

      it('waits for silence no longer than it may, and leaves the stream paused and whole', async () => {
        const { near, far } = await pairs[kind]();
        assert.equal(await detectProtocol(far, { timeoutMs: 1 }), 'silent');
        near.end('late');
        await turns();
        assert.equal(await readAll(far), 'late');
      });

      it('loses nothing of a client that says too little and then ends its half', async () => {
        const { near, far } = await pairs[kind]();
        const detected = detectProtocol(far, { timeoutMs: LONG_MS });
        near.end('PING');
        assert.equal(await detected, 'opaque');
        assert.equal(await readAll(far), 'PING');
      });

      it('does not wait for a client that ended its half without a word', async () => {
        const { near, far } = await pairs[kind]();
        const detected = detectProtocol(far, { timeoutMs: LONG_MS });
        near.end();
        assert.equal(await detected, 'opaque');
      });

      it('settles when the stream is destroyed', async () => {
        const { far }: { far: Duplex } = await pairs[kind]();
        const detected = detectProtocol(far, { timeoutMs: LONG_MS });
        far.destroy();
        assert.equal(await detected, 'opaque');
      });
    });
  }
});
