import assert from 'node:assert/strict';
import { once } from 'node:events';
import net from 'node:net';
import type { Duplex } from 'node:stream';
import { after, before, describe, it } from 'mocha';
import { Protocol } from '../../proto/gen/loam/waypoint/v1/waypoint_pb.js';
import { SURFACES, type Surface } from '../support/hostile/surfaces.ts';
import { OwnWaypoint } from '../unit/waypoint/support/own-waypoint.ts';
import { RecordingBackend } from '../unit/waypoint/support/recording-backend.ts';
import { frame, HEADERS, headerBlock, PREFACE } from '../unit/waypoint/support/raw-http2.ts';

const BYTE_EVERY_MS = 1_000;

/** Sends a byte a second for as long as the other end lets it, then nothing; resolves when it is cut. */
async function dribble(stream: Duplex, bytes: Buffer): Promise<void> {
  stream.on('error', () => undefined);
  stream.resume();
  const closed = new Promise<void>((resolve) => stream.once('close', () => resolve()));
  let at = 0;
  const timer = setInterval(() => {
    if (at < bytes.length && stream.writable) stream.write(bytes.subarray(at, (at += 1)));
  }, BYTE_EVERY_MS);
  await closed;
  clearInterval(timer);
}

/** Peers that keep a place by saying next to nothing: all of them at once, for about half a minute. */
for (const where of ['ztunnel, HBONE', 'waypoint, HBONE'] as const) {
  describe(`slow peers: ${where}`, () => {
    let surface: Surface;

    before(async () => {
      const start = SURFACES[where];
      assert.ok(start !== undefined);
      surface = await start();
    });
    after(() => surface.close());

    it('are cut, whatever they are slow with, and others are served meanwhile', async function () {
      this.timeout(180_000);
      const innocent = await surface.innocent();
      const head = frame(HEADERS, surface.flags, 1, headerBlock(surface.fields));
      const late = Buffer.alloc(600, 0);
      const slow = [
        // No word of HTTP/2 after the handshake; the preface by bytes; a frame by bytes.
        dribble(await surface.open(), Buffer.alloc(0)),
        dribble(await surface.open(), Buffer.concat([PREFACE.subarray(0, 20)])),
        (async () => {
          const stream = await surface.open();
          stream.write(Buffer.concat([PREFACE, head.subarray(0, 12)]));
          await dribble(stream, late.subarray(0, 6));
        })(),
        // TLS by bytes: a record that says it is long.
        (async () => {
          const socket = net.connect({ port: surface.port, host: '127.0.0.1', localAddress: '127.0.0.2' });
          socket.on('error', () => undefined);
          await once(socket, 'connect');
          socket.write(Buffer.of(0x16, 3, 1, 2, 0));
          await dribble(socket, late);
        })(),
        (async () => {
          const socket = net.connect({ port: surface.port, host: '127.0.0.1', localAddress: '127.0.0.2' });
          await dribble(socket, Buffer.alloc(0));
        })(),
      ];
      let over = false;
      const all = Promise.all(slow).then(() => (over = true));
      while (!over) {
        await innocent.turn();
        await Promise.race([all, new Promise((resolve) => setTimeout(resolve, 200))]);
      }
      innocent.check();
    });
  });
}

describe('slow peers: within a tunnel', () => {
  let waypoint: OwnWaypoint;
  let backend: RecordingBackend;

  before(async () => {
    waypoint = await OwnWaypoint.start();
    backend = await RecordingBackend.start(waypoint.podIp);
    waypoint.serve({ name: 'web', protocol: Protocol.HTTP1, targetPort: backend.port });
  });
  after(async () => {
    backend.close();
    await waypoint.close();
  });

  it('a head of HTTP/1.1 by bytes gets 408, and no endpoint hears of it', async function () {
    this.timeout(120_000);
    const stream = await waypoint.connect('web');
    let answer = '';
    stream.on('data', (chunk: Buffer) => (answer += chunk.toString('latin1')));
    await dribble(stream, Buffer.from(`GET / HTTP/1.1\r\nHost: web\r\nx-slow: ${'a'.repeat(600)}`));
    assert.match(answer, /^HTTP\/1\.1 408 /);
    assert.equal(backend.seen.length, 0);
  });
});
