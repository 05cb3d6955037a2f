import assert from 'node:assert/strict';
import { once } from 'node:events';
import http2 from 'node:http2';
import net from 'node:net';
import tls from 'node:tls';
import { afterEach, before, beforeEach, describe, it } from 'mocha';
import type { CertificateBundle } from '../../../../lib/mesh/identity/certificate-bundle.ts';
import { HboneServer } from '../../../../ztunnel/proxy/hbone-server.ts';
import { Pod } from '../../../../ztunnel/proxy/pod.ts';
import { TestCa } from '../support/certificates.ts';
import { errorCode, eventually, happened, readAll } from '../support/streams.ts';
import { LoopbackPod, toyMesh, toyPolicy, toyWorkload, type ToyMesh } from '../support/toy-mesh.ts';

const CLIENT = 'spiffe://cluster.local/ns/default/sa/client';
const SERVER = 'spiffe://cluster.local/ns/default/sa/server';

function echo(socket: net.Socket): void {
  socket.on('error', () => undefined);
  socket.pipe(socket);
}

describe('ztunnel/proxy/hbone-server', () => {
  let ca: TestCa;
  let clientBundle: CertificateBundle;
  let serverBundle: CertificateBundle;
  let mesh: ToyMesh;
  let sockets: LoopbackPod;
  let server: HboneServer;
  let listener: net.Server;
  let application: net.Server;
  let port: number;
  let appPort: number;
  const sessions: http2.ClientHttp2Session[] = [];

  before(async () => {
    ca = await TestCa.create();
    [clientBundle, serverBundle] = [await ca.issue(CLIENT), await ca.issue(SERVER)];
  });

  beforeEach(async () => {
    mesh = toyMesh();
    mesh.workloads.apply({ upserts: [toyWorkload('server', '127.0.0.1')], removed: [] });
    mesh.policies.onChange(() => mesh.registry.recheckSoon());
    mesh.certificates.put(serverBundle);
    sockets = new LoopbackPod();
    const info = { uid: 'uid-server', name: 'server', namespace: 'default', serviceAccount: 'server' };
    server = new HboneServer(new Pod(info, mesh, sockets));
    listener = net.createServer({ allowHalfOpen: true, pauseOnConnect: true }, (s) => void server.accept(s));
    application = net.createServer({ allowHalfOpen: true }, echo);
    port = await listening(listener);
    appPort = await listening(application);
  });

  afterEach(() => {
    for (const session of sessions.splice(0)) session.destroy();
    server.destroy();
    listener.close();
    application.close();
  });

  async function listening(made: net.Server): Promise<number> {
    made.listen(0, '127.0.0.1');
    await once(made, 'listening');
    return (made.address() as net.AddressInfo).port;
  }

  function dial(
    bundle: CertificateBundle | undefined,
    more: tls.ConnectionOptions = {},
  ): http2.ClientHttp2Session {
    const session = http2.connect(`https://127.0.0.1:${port}`, {
      ca: ca.root.toString('pem'),
      ...(bundle && { cert: bundle.certChainPem, key: bundle.keyPem }),
      checkServerIdentity: () => undefined,
      ...more,
    });
    session.on('error', () => undefined);
    sessions.push(session);
    return session;
  }

  function connect(
    session: http2.ClientHttp2Session,
    authority: string,
    headers: http2.OutgoingHttpHeaders = {},
  ) {
    const stream = session.request(
      { ':method': 'CONNECT', ':authority': authority, ...headers },
      { endStream: false },
    );
    stream.on('error', () => undefined);
    return stream;
  }

  async function statusOf(stream: http2.ClientHttp2Stream): Promise<number | undefined> {
    const [headers] = (await once(stream, 'response')) as [
      http2.IncomingHttpHeaders & { ':status'?: number },
    ];
    return headers[':status'];
  }

  it('connects an allowed client to the application, with its true address', async () => {
    const session = dial(clientBundle);
    const stream = connect(session, `127.0.0.1:${appPort}`, { forwarded: 'for="127.0.0.1:40001"' });
    assert.equal(await statusOf(stream), 200);
    stream.end('echo');
    assert.equal(await readAll(stream), 'echo');
    assert.deepEqual(sockets.truePeers, [{ ip: '127.0.0.1', port: 40001 }]);
    const record = await eventually(() => mesh.records.find((r) => r.message === 'connection complete'));
    assert.equal(record.fields['src.identity'], CLIENT);
  });

  it('refuses everything but CONNECT, and every address but its own', async () => {
    const session = dial(clientBundle);
    const get = session.request({ ':method': 'GET', ':path': '/', ':authority': `127.0.0.1:${appPort}` });
    get.on('error', () => undefined);
    assert.equal(await statusOf(get), 400);
    for (const authority of [`127.0.0.2:${appPort}`, 'localhost:80', '127.0.0.1', '127.0.0.1:15008']) {
      assert.equal(await statusOf(connect(session, authority)), 400, authority);
    }
    assert.equal(sockets.dialled, 0);
  });

  it('answers 401 without a body, before it connects to anything', async () => {
    mesh.policies.upsert(toyPolicy('deny-all', 'deny'));
    const stream = connect(dial(clientBundle), `127.0.0.1:${appPort}`);
    assert.equal(await statusOf(stream), 401);
    assert.equal(await readAll(stream), '');
    assert.equal(sockets.dialled, 0);
    const { fields } = await eventually(() => mesh.records.at(-1));
    assert.equal(fields['response_flags'], 'DENY');
    assert.equal(fields['policy'], 'default/deny-all');
    assert.equal(mesh.registry.size, 0);
  });

  it('waits for a policy that is named but not known yet', async () => {
    const workload = toyWorkload('server', '127.0.0.1', { authorizationPolicies: ['default/late'] });
    mesh.workloads.apply({ upserts: [workload], removed: [] });
    const stream = connect(dial(clientBundle), `127.0.0.1:${appPort}`);
    await eventually(() => mesh.registry.size > 0);
    assert.equal(sockets.dialled, 0);
    mesh.policies.upsert({ ...toyPolicy('late', 'allow'), scope: 'workload' });
    assert.equal(await statusOf(stream), 200);
  });

  it('cuts a live connection that a new policy forbids, and leaves an allowed one', async () => {
    const session = dial(clientBundle);
    const [other, otherPort] = await (async () => {
      const made = net.createServer({ allowHalfOpen: true }, echo);
      return [made, await listening(made)] as const;
    })();
    const [stream, kept] = [
      connect(session, `127.0.0.1:${appPort}`),
      connect(session, `127.0.0.1:${otherPort}`),
    ];
    assert.deepEqual([await statusOf(stream), await statusOf(kept)], [200, 200]);
    const closed = happened(stream, 'close');
    mesh.policies.upsert(toyPolicy('no-app', 'deny', { destinationPorts: [appPort] }));
    await closed;
    assert.equal(stream.rstCode, http2.constants.NGHTTP2_CONNECT_ERROR);
    const record = await eventually(() => mesh.records.find((r) => r.message === 'connection complete'));
    assert.match(String(record.fields['error']), /closed due to policy change/);
    assert.equal(record.fields['response_flags'], 'DENY');
    kept.end('still');
    assert.equal(await readAll(kept), 'still');
    other.close();
  });

  it('answers 503 when the application cannot be reached', async () => {
    const closedPort = appPort;
    application.close();
    await once(application, 'close');
    assert.equal(await statusOf(connect(dial(clientBundle), `127.0.0.1:${closedPort}`)), 503);
    assert.equal((await eventually(() => mesh.records.at(-1))).fields['response_flags'], 'CONNECT');
  });

  it('speaks with nobody who has no certificate of the mesh', async () => {
    const stranger = await (await TestCa.create()).issue(CLIENT);
    const foreign = await ca.issue('spiffe://other.domain/ns/default/sa/client');
    const twofold = await ca.issue(CLIENT, SERVER);
    for (const bundle of [undefined, stranger, foreign, twofold]) {
      const session = dial(bundle);
      // Node does not always emit 'close' after a TLS alert.
      await eventually(() => session.destroyed);
    }
    assert.equal(sockets.dialled, 0);
  });

  it('takes TLS 1.3 only, and resumes no session', async () => {
    const old = dial(clientBundle, { maxVersion: 'TLSv1.2' });
    await eventually(() => old.destroyed);
    const raw = tls.connect({
      port,
      host: '127.0.0.1',
      ca: ca.root.toString('pem'),
      cert: clientBundle.certChainPem,
      key: clientBundle.keyPem,
      ALPNProtocols: ['h2'],
      checkServerIdentity: () => undefined,
    });
    const tickets: Buffer[] = [];
    raw.on('session', (ticket) => tickets.push(ticket));
    await once(raw, 'secureConnect');
    assert.equal(raw.getProtocol(), 'TLSv1.3');
    await once(raw, 'data');
    for (const session of tickets) {
      const again = tls.connect({
        port,
        host: '127.0.0.1',
        session,
        ca: ca.root.toString('pem'),
        cert: clientBundle.certChainPem,
        key: clientBundle.keyPem,
        ALPNProtocols: ['h2'],
        checkServerIdentity: () => undefined,
      });
      await once(again, 'secureConnect');
      assert.equal(again.isSessionReused(), false);
      again.destroy();
    }
    raw.destroy();
  });

  it('says GOAWAY when it drains, and lets a stream finish', async () => {
    const session = dial(clientBundle);
    const stream = connect(session, `127.0.0.1:${appPort}`);
    assert.equal(await statusOf(stream), 200);
    const goaway = once(session, 'goaway');
    server.drain();
    await goaway;
    stream.end('bye');
    assert.equal(await readAll(stream), 'bye');
    await happened(session, 'close');
  });

  it('has a bound on tunnels, and lets no stranger use it up', async () => {
    const bound = mesh.limits.tunnelsPerPod;
    const silent = Array.from({ length: bound }, () => net.connect(port, '127.0.0.1'));
    for (const socket of silent) socket.on('error', () => undefined);
    await Promise.all(silent.map((socket) => once(socket, 'connect')));
    const crowdedOut = errorCode(silent[0] as net.Socket);
    const members = Array.from({ length: bound }, () => dial(clientBundle));
    const streams = members.map((session) => connect(session, `127.0.0.1:${appPort}`));
    assert.deepEqual(await Promise.all(streams.map(statusOf)), Array(bound).fill(200));
    assert.equal(await crowdedOut, 'ECONNRESET');
    const extra = net.connect(port, '127.0.0.1');
    assert.equal(await errorCode(extra), 'ECONNRESET');
    for (const socket of silent) socket.destroy();
  });
});
