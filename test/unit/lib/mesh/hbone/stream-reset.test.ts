import assert from 'node:assert/strict';
import { once } from 'node:events';
import http2 from 'node:http2';
import net, { type AddressInfo } from 'node:net';
import { afterEach, describe, it } from 'mocha';
import { resetStream, sendReset } from '../../../../../lib/mesh/hbone/stream-reset.ts';
import { eventually } from '../../../ztunnel/support/streams.ts';

const DATA = 0;
const RST_STREAM = 3;
const END_STREAM = 1;
const PREFACE_BYTES = 24;

/** DATA and RST_STREAM as they pass one way, in words. */
class Frames {
  readonly seen: string[] = [];
  #bytes: Buffer = Buffer.alloc(0);
  #skip: number;

  constructor(skip: number) {
    this.#skip = skip;
  }

  take(chunk: Buffer): void {
    this.#bytes = Buffer.concat([this.#bytes, chunk]);
    if (this.#skip > 0) {
      this.#bytes = this.#bytes.subarray(this.#skip);
      this.#skip = 0;
    }
    while (this.#bytes.length >= 9) {
      const length = this.#bytes.readUIntBE(0, 3);
      if (this.#bytes.length < 9 + length) return;
      const [type, flags = 0] = this.#bytes.subarray(3, 5);
      if (type === DATA) this.seen.push(`${length} bytes${(flags & END_STREAM) === 0 ? '' : ', the last'}`);
      if (type === RST_STREAM) this.seen.push(`reset ${this.#bytes.readUInt32BE(9)}`);
      this.#bytes = this.#bytes.subarray(9 + length);
    }
  }
}

describe('resets of HTTP/2 streams, on the wire', () => {
  const toClose: (() => void)[] = [];
  afterEach(() => {
    for (const close of toClose.splice(0)) close();
  });

  /** Both ends of a CONNECT stream, and the frames that each sends. */
  async function pair() {
    const server = http2.createServer().listen(0, '127.0.0.1');
    await once(server, 'listening');
    const frames = { client: new Frames(PREFACE_BYTES), server: new Frames(0) };
    const proxy = net.createServer((from) => {
      const to = net.connect((server.address() as AddressInfo).port, '127.0.0.1');
      for (const [a, b, seen] of [
        [from, to, frames.client],
        [to, from, frames.server],
      ] as const) {
        a.on('error', () => undefined);
        a.on('data', (chunk: Buffer) => {
          seen.take(chunk);
          b.write(chunk);
        });
        a.on('close', () => b.destroy());
      }
    });
    proxy.listen(0, '127.0.0.1');
    await once(proxy, 'listening');
    const session = http2.connect(`http://127.0.0.1:${(proxy.address() as AddressInfo).port}`);
    session.on('error', () => undefined);
    const client = session.request({ ':method': 'CONNECT', ':authority': 'x:1' }, { endStream: false });
    const [far] = (await once(server, 'stream')) as [http2.ServerHttp2Stream];
    far.respond({ ':status': 200 });
    await once(client, 'response');
    for (const stream of [client, far]) {
      stream.on('error', () => undefined);
      stream.resume();
    }
    toClose.push(
      () => session.destroy(),
      () => proxy.close(),
      () => server.close(),
    );
    return { streams: { client, server: far }, frames };
  }

  for (const side of ['client', 'server'] as const) {
    it(`never begin with an end of the stream (${side})`, async () => {
      const { streams, frames } = await pair();
      const [own, other] = [streams[side], streams[side === 'client' ? 'server' : 'client']];
      own.write('hello');
      await once(other, 'data');
      sendReset(own, http2.constants.NGHTTP2_CANCEL);
      await eventually(() => other.destroyed && own.destroyed);
      assert.deepEqual(frames[side].seen, ['5 bytes', 'reset 8']);
      assert.equal(other.rstCode, http2.constants.NGHTTP2_CANCEL);
    });

    it(`of what was ended before are resets all the same (${side})`, async () => {
      const { streams, frames } = await pair();
      const own = streams[side];
      own.end('all');
      await once(own, 'finish');
      resetStream(own);
      await eventually(() => streams.client.destroyed && streams.server.destroyed);
      assert.deepEqual(frames[side].seen, ['3 bytes, the last', 'reset 10']);
    });
  }

  it('take what still waits to be sent along', async () => {
    const { streams, frames } = await pair();
    const total = 4 << 20;
    streams.server.pause();
    streams.client.write(Buffer.alloc(total));
    resetStream(streams.client);
    await eventually(() => streams.client.destroyed);
    streams.server.resume();
    await eventually(() => streams.server.destroyed);
    assert.ok(!frames.client.seen.some((frame) => frame.includes('last')), frames.client.seen.join());
    assert.equal(frames.client.seen.at(-1), 'reset 10');
  });
});
