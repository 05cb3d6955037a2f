import assert from 'node:assert/strict';
import { once } from 'node:events';
import http2 from 'node:http2';
import type net from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, describe, it } from 'mocha';
import { HbonePool, type TunnelKey, type TunnelSource } from '../../../../../lib/mesh/hbone/hbone-pool.ts';
import { ProxyError } from '../../../../../lib/mesh/hbone/proxy-error.ts';
import { eventually } from '../../../ztunnel/support/streams.ts';

const KEY: TunnelKey = {
  sourcePodUid: 'pod-1',
  sourceIdentity: 'spiffe://cluster.local/ns/default/sa/client',
  destinationUid: 'Kubernetes//Pod/default/server',
  address: { ip: '198.18.0.2', port: 15008 },
  expectedIdentities: ['spiffe://cluster.local/ns/default/sa/server'],
};
let notAfter = Infinity;
const SOURCE = {
  certificate: () => Promise.resolve({ bundle: { notAfter } }),
} as unknown as TunnelSource;
const HEADERS = { ':authority': '198.18.0.2:80' };

type Serve = (stream: http2.ServerHttp2Stream, session: http2.ServerHttp2Session) => void;

/** A peer that speaks HTTP/2 without TLS, and the connections that were made to it. */
class Peer {
  readonly sessions: http2.ServerHttp2Session[] = [];
  readonly dialled: http2.ClientHttp2Session[] = [];
  serve: Serve = (stream) => stream.respond({ ':status': 200 });
  /** Set to make connecting fail. */
  failure: Error | undefined;
  attempts = 0;
  readonly #server: http2.Http2Server;

  constructor(maxConcurrentStreams = 200) {
    this.#server = http2.createServer({ settings: { maxConcurrentStreams } });
    this.#server.on('session', (session) => {
      this.sessions.push(session);
      session.on('error', () => undefined);
      session.on('stream', (stream) => {
        stream.on('error', () => undefined);
        this.serve(stream, session);
      });
    });
    this.#server.listen(0, '127.0.0.1');
  }

  readonly connect = async (): Promise<http2.ClientHttp2Session> => {
    this.attempts += 1;
    if (this.failure !== undefined) throw this.failure;
    if (!this.#server.listening) await once(this.#server, 'listening');
    const { port } = this.#server.address() as net.AddressInfo;
    const session = http2.connect(`http://127.0.0.1:${port}`);
    session.on('error', () => undefined);
    this.dialled.push(session);
    await once(session, 'remoteSettings');
    return session;
  };

  close(): void {
    for (const session of [...this.sessions, ...this.dialled]) session.destroy();
    this.#server.close();
  }
}

describe('ztunnel/proxy/hbone-pool', () => {
  let peer: Peer;
  let pool: HbonePool;
  const open = (key: TunnelKey = KEY) => pool.open(key, SOURCE, HEADERS);

  beforeEach(() => {
    peer = new Peer();
    pool = new HbonePool(peer.connect);
  });

  afterEach(() => {
    pool.evictPod('pod-1');
    peer.close();
  });

  const codeOf = async (attempt: Promise<unknown>): Promise<string> => {
    const error: unknown = await attempt.then(
      () => undefined,
      (reason: unknown) => reason,
    );
    assert.ok(error instanceof ProxyError, String(error));
    return error.code;
  };

  it('makes one connection for all who come at once', async () => {
    const streams = await Promise.all([open(), open(), open()]);
    assert.equal(peer.attempts, 1);
    assert.deepEqual(pool.stats(), { tunnels: 1, streams: 3 });
    for (const stream of streams) stream.close();
    await eventually(() => pool.stats().streams === 0);
    assert.equal(pool.stats().tunnels, 1);
  });

  it('makes another when the first is full: 100 streams, or fewer where the peer says so', async () => {
    await Promise.all(Array.from({ length: 101 }, () => open()));
    assert.deepEqual(pool.stats(), { tunnels: 2, streams: 101 });
    peer.close();
    pool.evictPod('pod-1');
    peer = new Peer(2);
    pool = new HbonePool(peer.connect);
    await Promise.all([open(), open(), open()]);
    assert.deepEqual(pool.stats(), { tunnels: 2, streams: 3 });
  });

  it('leaves nobody out, however many come at once', async () => {
    peer.close();
    peer = new Peer(1);
    pool = new HbonePool(peer.connect);
    const streams = await Promise.all(Array.from({ length: 80 }, () => open()));
    assert.equal(streams.length, 80);
    assert.deepEqual(pool.stats(), { tunnels: 80, streams: 80 });
  });

  it('closes a retired connection with its last stream, and asks it for signs of life until then', async () => {
    const stream = await open();
    pool.evictWorkload(KEY.destinationUid);
    // Node sends no PING on a session that it was told to close.
    assert.equal(peer.dialled[0]?.closed, false);
    stream.close();
    await eventually(() => peer.dialled[0]?.closed);
  });

  it('gives those who wait for a connection theirs, also while it drains', async () => {
    const waiting = open();
    pool.drain();
    const stream = await waiting;
    assert.equal(stream.closed, false);
  });

  it('takes no new stream on a connection whose certificate has expired, and lets the old ones finish', async () => {
    notAfter = Date.now() + 200;
    const old = await open();
    notAfter = Infinity;
    await sleep(250);
    await open();
    assert.equal(peer.attempts, 2);
    assert.equal(old.closed, false);
  });

  it('shares nothing between pods, identities or destination workloads at one address', async () => {
    await open();
    await open({ ...KEY, destinationUid: 'Kubernetes//Pod/default/successor' });
    await open({ ...KEY, sourceIdentity: 'spiffe://cluster.local/ns/default/sa/other' });
    await open({ ...KEY, expectedIdentities: ['spiffe://cluster.local/ns/default/sa/successor'] });
    assert.equal(peer.attempts, 4);
  });

  it('does not use a connection again after GOAWAY, and lets its streams finish', async () => {
    const before = await open();
    peer.sessions[0]?.close();
    await once(peer.dialled[0] as http2.ClientHttp2Session, 'goaway');
    await open();
    assert.equal(peer.attempts, 2);
    assert.equal(before.destroyed, false);
  });

  it('tries a refused stream once more, on a fresh connection', async () => {
    let refused = 0;
    peer.serve = (stream, session) => {
      if (session === peer.sessions[0]) {
        refused += 1;
        stream.close(http2.constants.NGHTTP2_REFUSED_STREAM);
      } else stream.respond({ ':status': 200 });
    };
    const stream = await open();
    assert.equal(refused, 1);
    assert.equal(peer.attempts, 2);
    assert.equal(stream.destroyed, false);
  });

  it('gives up when two fresh connections refuse too', async () => {
    peer.serve = (stream) => stream.close(http2.constants.NGHTTP2_REFUSED_STREAM);
    assert.equal(await codeOf(open()), 'STREAM_REFUSED');
    assert.equal(peer.attempts, 3);
  });

  it('tries again when the connection is lost before an answer', async () => {
    peer.serve = (stream, session) => {
      if (session === peer.sessions[0]) session.destroy();
      else stream.respond({ ':status': 200 });
    };
    await open();
    assert.equal(peer.attempts, 2);
  });

  it('tells by the status why not, and does not try again', async () => {
    for (const [status, code] of [
      [401, 'POLICY_DENIED'],
      [503, 'CONNECT_FAILED'],
      [400, 'PEER_REFUSED'],
    ] as const) {
      peer.serve = (stream) => stream.respond({ ':status': status }, { endStream: true });
      assert.equal(await codeOf(open()), code);
    }
    assert.equal(peer.attempts, 1);
    await eventually(() => pool.stats().streams === 0);
  });

  it('hands one failure to all who wait, holds further attempts back, and recovers', async () => {
    peer.failure = new ProxyError('CONNECT_FAILED', 'nobody there');
    assert.deepEqual(await Promise.all([codeOf(open()), codeOf(open())]), [
      'CONNECT_FAILED',
      'CONNECT_FAILED',
    ]);
    assert.equal(peer.attempts, 1);
    const again = [open(), open()];
    assert.equal(peer.attempts, 1);
    peer.failure = undefined;
    await Promise.all(again);
    assert.equal(peer.attempts, 2);
  });

  it('makes another connection where the peer goes away while one is made, and gives up at the third', async () => {
    const closed = new ProxyError('TLS_FAILURE', 'closed', { unused: true });
    let failures = 2;
    const flaky = new HbonePool(() => {
      failures -= 1;
      return failures < 0 ? peer.connect() : Promise.reject(closed);
    });
    await flaky.open(KEY, SOURCE, HEADERS);
    assert.equal(peer.attempts, 1);
    flaky.evictPod('pod-1');
    failures = 3;
    assert.equal(await codeOf(flaky.open(KEY, SOURCE, HEADERS)), 'TLS_FAILURE');
    assert.deepEqual([failures, peer.attempts], [0, 1]);
  });

  it('lets go of a workload that left: streams go on, new ones connect anew', async () => {
    const stream = await open();
    pool.evictWorkload(KEY.destinationUid);
    assert.deepEqual(pool.stats(), { tunnels: 0, streams: 0 });
    assert.equal(stream.destroyed, false);
    await open();
    assert.equal(peer.attempts, 2);
  });

  it('cuts the tunnels of a pod that left, also one that is being made', async () => {
    const stream = await open();
    pool.evictPod('pod-1');
    await eventually(() => stream.destroyed);
    const late = open();
    pool.evictPod('pod-1');
    assert.equal(await codeOf(late), 'POD_GONE');
  });
});
