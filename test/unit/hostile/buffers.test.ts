import assert from 'node:assert/strict';
import { once } from 'node:events';
import http2 from 'node:http2';
import net, { type AddressInfo } from 'node:net';
import type { Duplex } from 'node:stream';
import { afterEach, beforeEach, describe, it } from 'mocha';
import { Protocol } from '../../../proto/gen/loam/waypoint/v1/waypoint_pb.js';
import { EchoStream } from '../../support/hostile/echo-stream.ts';
import { dialTls, OwnZtunnel } from '../../support/hostile/own-ztunnel.ts';
import { OwnWaypoint } from '../waypoint/support/own-waypoint.ts';
import { eventually } from '../ztunnel/support/streams.ts';

/** What all streams together want to send: far more than may be held. */
const STREAMS = 40;
const STREAM_MB = 64;
const CHUNK = Buffer.alloc(64 * 1024, 7);
/** Both ends of all hops are in this process, with garbage that waits: up to 160 is measured, of 2,500 that would be held otherwise. */
const MAX_GROWTH_MB = 400;

/** Bytes that a peer pours out as far as it is let. */
class Pourer {
  accepted = 0;
  constructor(stream: Duplex) {
    stream.on('error', () => undefined);
    const pour = (): void => {
      while (this.accepted < STREAM_MB * 2 ** 20 && !stream.destroyed) {
        this.accepted += CHUNK.length;
        if (!stream.write(CHUNK)) {
          stream.once('drain', pour);
          return;
        }
      }
    };
    pour();
  }
}

/** Until no stream is let send more while another client's bytes went forth and back often enough. */
async function standstill(pourers: readonly Pourer[], innocent: EchoStream): Promise<number> {
  const all = (): number => pourers.reduce((sum, { accepted }) => sum + accepted, 0);
  for (let before = -1, still = 0; still < 50;) {
    await innocent.turn();
    const now = all();
    still = now === before ? still + 1 : 0;
    before = now;
  }
  return all();
}

function megabytes(): number {
  const { heapUsed, external } = process.memoryUsage();
  return (heapUsed + external) / 2 ** 20;
}

function opened(session: http2.ClientHttp2Session, authority: string): Promise<http2.ClientHttp2Stream> {
  const stream = session.request({ ':method': 'CONNECT', ':authority': authority }, { endStream: false });
  stream.on('error', () => undefined);
  return new Promise((resolve) => stream.once('response', () => resolve(stream)));
}

describe('huge bodies and those who do not read', () => {
  const cleanups: (() => unknown)[] = [];
  let dial: () => Promise<http2.ClientHttp2Session>;

  afterEach(async () => {
    for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
  });

  async function checkBounded(
    pourers: readonly Pourer[],
    innocent: EchoStream,
    before: number,
  ): Promise<void> {
    const accepted = await standstill(pourers, innocent);
    // The kernel's own buffers, up to ten megabytes for each socket, are not in our hands.
    assert.ok(accepted < (STREAMS * STREAM_MB * 2 ** 20) / 2, `${accepted} bytes were taken`);
    const grown = megabytes() - before;
    assert.ok(grown < MAX_GROWTH_MB, `${grown} MB more`);
    innocent.check();
  }

  describe('ztunnel', () => {
    let ztunnel: OwnZtunnel;
    let innocent: EchoStream;

    beforeEach(async () => {
      ztunnel = await OwnZtunnel.start();
      cleanups.push(() => ztunnel.close());
      const attacker = await ztunnel.client('attacker');
      dial = () => Promise.resolve(ztunnel.session(attacker));
      innocent = new EchoStream(
        await opened(ztunnel.session(await ztunnel.client('honest')), ztunnel.authority),
      );
    });

    it('holds no more than its windows of what an application does not read', async () => {
      const sockets = new Set<net.Socket>();
      const deaf = net.createServer({ pauseOnConnect: true }, (socket) => {
        sockets.add(socket);
        socket.on('error', () => undefined);
      });
      deaf.listen(0, '127.0.0.1');
      await once(deaf, 'listening');
      cleanups.push(() => {
        for (const socket of sockets) socket.destroy();
        deaf.close();
      });
      const authority = `127.0.0.1:${(deaf.address() as AddressInfo).port}`;
      const session = await dial();
      const before = megabytes();
      const streams = await Promise.all(Array.from({ length: STREAMS }, () => opened(session, authority)));
      await checkBounded(
        streams.map((stream) => new Pourer(stream)),
        innocent,
        before,
      );
    });

    it('reads no more from an application than a client takes that does not read', async () => {
      const pourers: Pourer[] = [];
      const flood = net.createServer((socket) => {
        cleanups.push(() => socket.destroy());
        pourers.push(new Pourer(socket));
      });
      flood.listen(0, '127.0.0.1');
      await once(flood, 'listening');
      cleanups.push(() => flood.close());
      const session = await dial();
      const before = megabytes();
      const authority = `127.0.0.1:${(flood.address() as AddressInfo).port}`;
      for (let i = 0; i < STREAMS; i += 1) (await opened(session, authority)).pause();
      await eventually(() => pourers.length === STREAMS);
      await checkBounded(pourers, innocent, before);
    });
  });

  describe('waypoint', () => {
    let waypoint: OwnWaypoint;
    let innocent: EchoStream;
    let backend: http2.Http2Server;
    let onStream: (stream: http2.ServerHttp2Stream) => void;

    beforeEach(async () => {
      waypoint = await OwnWaypoint.start();
      cleanups.push(() => waypoint.close());
      const sessions = new Set<http2.ServerHttp2Session>();
      backend = http2.createServer({ settings: { initialWindowSize: 65_535 } });
      backend.on('session', (session) => {
        sessions.add(session);
        session.on('error', () => undefined);
      });
      backend.on('stream', (stream: http2.ServerHttp2Stream) => {
        stream.on('error', () => undefined);
        onStream(stream);
      });
      backend.listen(0, waypoint.podIp);
      await once(backend, 'listening');
      cleanups.push(() => {
        for (const session of sessions) session.destroy();
        backend.close();
      });
      const echo = net.createServer({ allowHalfOpen: true }, (socket) => {
        socket.on('error', () => undefined);
        socket.pipe(socket);
      });
      echo.listen(0, waypoint.podIp);
      await once(echo, 'listening');
      cleanups.push(() => echo.close());
      waypoint.serve({
        name: 'web',
        protocol: Protocol.HTTP2,
        targetPort: (backend.address() as AddressInfo).port,
      });
      waypoint.serve({
        name: 'echo',
        protocol: Protocol.TCP,
        targetPort: (echo.address() as AddressInfo).port,
      });
      const honest = await waypoint.client('honest');
      const tunnel = http2.connect('https://w', {
        createConnection: () => dialTls(waypoint.port, waypoint.ca, honest),
      });
      tunnel.on('error', () => undefined);
      cleanups.push(() => tunnel.destroy());
      innocent = new EchoStream(await opened(tunnel, waypoint.addressOf('echo')));
      dial = () => waypoint.http2('web');
    });

    it('holds no more than its windows of bodies that an endpoint does not read', async () => {
      let requests = 0;
      onStream = (stream) => {
        requests += 1;
        stream.pause();
      };
      const session = await dial();
      const before = megabytes();
      const pourers = Array.from(
        { length: STREAMS },
        () => new Pourer(session.request({ ':method': 'POST', ':path': '/' }, { endStream: false })),
      );
      await eventually(() => requests === STREAMS);
      await checkBounded(pourers, innocent, before);
    });

    it('reads no more of responses than a client takes that does not read', async () => {
      const pourers: Pourer[] = [];
      onStream = (stream) => {
        stream.respond({ ':status': 200 });
        pourers.push(new Pourer(stream));
      };
      const session = await dial();
      const before = megabytes();
      for (let i = 0; i < STREAMS; i += 1) {
        const stream = session.request({ ':path': '/' });
        stream.on('error', () => undefined);
        stream.pause();
      }
      await eventually(() => pourers.length === STREAMS);
      await checkBounded(pourers, innocent, before);
    });
  });
});
