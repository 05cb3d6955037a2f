import assert from 'node:assert/strict';
import { once } from 'node:events';
import http2 from 'node:http2';
import net, { type AddressInfo } from 'node:net';
import { after, afterEach, before, beforeEach, describe, it } from 'mocha';
import { HbonePool } from '../../../../lib/mesh/hbone/hbone-pool.ts';
import { resetStream, sendReset } from '../../../../lib/mesh/hbone/stream-reset.ts';
import { serveOutbound } from '../../../../ztunnel/proxy/outbound.ts';
import { Pod } from '../../../../ztunnel/proxy/pod.ts';
import { port, service } from '../../lib/mesh/state/mesh.ts';
import { TestCa } from '../support/certificates.ts';
import { errorCode, eventually, readAll } from '../support/streams.ts';
import { giveCertificate, LoopbackPod, toyMesh, toyWorkload, type ToyMesh } from '../support/toy-mesh.ts';
import { closedPort } from '../support/toy-waypoint.ts';

const VIP = '198.19.0.1';
const WP = 'shop/wp.shop.svc.cluster.local';
const PEER = 'spiffe://cluster.local/ns/default/sa/wp';

class VipPod extends LoopbackPod {
  override originalDst() {
    return { ip: VIP, port: 80 };
  }
}

/**
 * The peer at the other end of a tunnel, which fails in one phase after the other. It stands where a waypoint does, since
 * that may have any port; ztunnel goes to a pod in the same way.
 */
describe('ztunnel/proxy: a peer that fails in each phase', () => {
  let ca: TestCa;
  let mesh: ToyMesh;
  let outbound: net.Server;
  let peer: net.Server | undefined;
  let secure: http2.Http2SecureServer | undefined;
  const sockets = new Set<net.Socket>();

  before(async () => {
    ca = await TestCa.create();
    const info = { uid: 'uid-client', name: 'client', namespace: 'default', serviceAccount: 'client' };
    outbound = net.createServer(
      { allowHalfOpen: true, pauseOnConnect: true },
      (socket) => void serveOutbound(new Pod(info, mesh, new VipPod()), socket),
    );
    outbound.listen(0, '127.0.0.1');
    await once(outbound, 'listening');
  });
  after(() => outbound.close());

  beforeEach(async () => {
    mesh = toyMesh({ pool: new HbonePool(), stateWaitMs: 30 });
    await giveCertificate(mesh, ca, 'client');
  });
  afterEach(async () => {
    for (const socket of sockets) socket.destroy();
    peer?.close();
    mesh.pool.evictPod('uid-client');
    // In vain for one that stays: the time limit of the test names it.
    await eventually(() => mesh.pool.stats().tunnels === 0 && mesh.registry.size === 0);
  });

  function goesTo(peerPort: number): void {
    mesh.workloads.apply({
      upserts: [
        toyWorkload('client', '10.0.0.1'),
        service('web', VIP, { waypoint: { by: 'hostname', service: WP, hboneMtlsPort: 15008 } }),
        service('wp', undefined, { ports: [port(15008)] }),
        toyWorkload('wp-0', '127.0.0.1', {
          identity: { trustDomain: 'cluster.local', namespace: 'default', serviceAccount: 'wp' },
          services: [{ service: WP, ports: [port(15008, peerPort)] }],
        }),
      ],
      removed: [],
    });
  }

  /** @param onSocket first sight of each connection; what it does not take goes on to TLS and HTTP/2 */
  async function serve(
    onStream: (stream: http2.ServerHttp2Stream) => void,
    onSocket: (socket: net.Socket) => 'taken' | 'goes on' = () => 'goes on',
  ): Promise<void> {
    const bundle = await ca.issue(PEER);
    secure = http2.createSecureServer({
      cert: bundle.certChainPem,
      key: bundle.keyPem,
      ca: bundle.rootsPem,
      requestCert: true,
      minVersion: 'TLSv1.3',
    });
    secure.on('tlsClientError', () => undefined);
    secure.on('session', (session) => session.on('error', () => undefined));
    secure.on('stream', (stream: http2.ServerHttp2Stream) => {
      stream.on('error', () => undefined);
      onStream(stream);
    });
    peer = net.createServer((socket) => {
      sockets.add(socket);
      socket.on('error', () => undefined);
      socket.once('close', () => sockets.delete(socket));
      if (onSocket(socket) === 'goes on') secure?.emit('connection', socket);
    });
    peer.listen(0, '127.0.0.1');
    await once(peer, 'listening');
    goesTo((peer.address() as AddressInfo).port);
  }

  function dial(): net.Socket {
    const client = net.connect((outbound.address() as AddressInfo).port, '127.0.0.1');
    client.on('error', () => undefined);
    client.once('end', () => assert.fail('the client was told a good end'));
    return client;
  }

  const reason = async (): Promise<string> => {
    const { fields } = await eventually(() => mesh.records.find(({ level }) => level !== 'debug'));
    return String(fields['error']);
  };
  const ok = (stream: http2.ServerHttp2Stream): void => stream.respond({ ':status': 200 });

  it('does not listen', async () => {
    goesTo(await closedPort());
    assert.equal(await errorCode(dial()), 'ECONNRESET');
    assert.match(await reason(), /ECONNREFUSED/);
  });

  it('resets before TLS', async () => {
    await serve(ok, (socket) => {
      socket.resetAndDestroy();
      return 'taken';
    });
    assert.equal(await errorCode(dial()), 'ECONNRESET');
    assert.match(await reason(), /TLS with .* failed|ECONNRESET/);
  });

  it('resets within TLS', async () => {
    await serve(ok, (socket) => {
      socket.once('data', () => socket.resetAndDestroy());
      return 'taken';
    });
    assert.equal(await errorCode(dial()), 'ECONNRESET');
    assert.match(await reason(), /TLS with .* failed/);
  });

  it('answers TLS with what is none', async () => {
    await serve(ok, (socket) => {
      socket.once('data', () => socket.end('HTTP/1.1 400 Bad Request\r\n\r\n'));
      return 'taken';
    });
    assert.equal(await errorCode(dial()), 'ECONNRESET');
    assert.match(await reason(), /TLS with .* failed/);
  });

  it('resets its connection on the CONNECT, each time', async () => {
    let connects = 0;
    await serve(() => {
      connects += 1;
      for (const socket of sockets) socket.resetAndDestroy();
    });
    assert.equal(await errorCode(dial()), 'ECONNRESET');
    assert.match(await reason(), /before an answer/);
    assert.ok(connects === 2 || connects === 3, `nothing was sent yet: ${connects} tries, a bounded number`);
  });

  it('resets its connection on the CONNECT, once: the client notices nothing', async () => {
    let connects = 0;
    await serve((stream) => {
      connects += 1;
      if (connects === 1) for (const socket of sockets) socket.resetAndDestroy();
      else {
        ok(stream);
        stream.pipe(stream);
      }
    });
    const client = net.connect((outbound.address() as AddressInfo).port, '127.0.0.1');
    client.end('hello');
    assert.equal(await readAll(client), 'hello');
    assert.equal(connects, 2);
  });

  const LATER: Readonly<Record<string, (stream: http2.ServerHttp2Stream) => void>> = {
    'resets its stream': (stream) => resetStream(stream),
    'cancels its stream': (stream) => sendReset(stream, http2.constants.NGHTTP2_CANCEL),
    'resets its connection': () => {
      for (const socket of sockets) socket.resetAndDestroy();
    },
    'closes its connection without a word': () => {
      for (const socket of sockets) socket.destroy();
    },
    'says GOAWAY with an error': (stream) =>
      stream.session?.destroy(undefined, http2.constants.NGHTTP2_INTERNAL_ERROR),
  };
  for (const [how, fail] of Object.entries(LATER)) {
    it(`${how} after its answer, before the first byte`, async () => {
      await serve((stream) => {
        ok(stream);
        setImmediate(() => fail(stream));
      });
      const client = dial();
      assert.equal(await errorCode(client), 'ECONNRESET');
    });

    it(`${how} in the middle, which the client sees after what came before`, async () => {
      await serve((stream) => {
        ok(stream);
        stream.write('the first half');
        stream.once('data', () => fail(stream));
      });
      const client = dial();
      let got = '';
      client.on('data', (chunk: Buffer) => {
        got += chunk.toString();
        client.write('more');
      });
      assert.equal(await errorCode(client), 'ECONNRESET');
      assert.equal(got, 'the first half');
    });

    it(`${how} after the client closed its half in good order`, async () => {
      await serve((stream) => {
        ok(stream);
        stream.write('the first half');
        stream.resume();
        stream.once('end', () => setImmediate(() => fail(stream)));
      });
      const client = net.connect({
        port: (outbound.address() as AddressInfo).port,
        host: '127.0.0.1',
        allowHalfOpen: true,
      });
      client.once('end', () => assert.fail('the client was told a good end'));
      client.end('all of the question');
      assert.equal(await errorCode(client), 'ECONNRESET');
    });
  }

  it('sees a reset when the client resets, in the middle', async () => {
    const code = new Promise<number | undefined>((resolve) => {
      void serve((stream) => {
        ok(stream);
        stream.write('go on');
        stream.once('end', () => assert.ok(stream.destroyed, 'END_STREAM came before the reset'));
        stream.once('close', () => resolve(stream.rstCode));
        stream.resume();
      }).then(() => {
        const client = dial();
        client.once('data', () => client.resetAndDestroy());
      });
    });
    assert.equal(await code, http2.constants.NGHTTP2_CONNECT_ERROR);
  });
});
