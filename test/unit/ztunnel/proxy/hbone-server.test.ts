import assert from 'node:assert/strict';
import { once } from 'node:events';
import http2 from 'node:http2';
import net from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import tls from 'node:tls';
import { afterEach, before, beforeEach, describe, it } from 'mocha';
import type { Service, Workload } from '../../../../lib/mesh/state/model.ts';
import { service } from '../../lib/mesh/state/mesh.ts';
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
  let used = 0;
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
    mesh = toyMesh({ memory: () => [{ of: 'process', used, limit: 100 }] });
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

  it('refuses new streams while memory is scarce, and lets those go on that are open', async () => {
    const session = dial(clientBundle);
    const open = connect(session, `127.0.0.1:${appPort}`);
    assert.equal(await statusOf(open), 200);
    used = 90;
    while ((await statusOf(connect(session, `127.0.0.1:${appPort}`))) !== 503) await sleep(20);
    assert.ok((mesh.metrics.takeBatch().refused['no-memory'] ?? 0) > 0);
    open.end('still here');
    assert.equal(await readAll(open), 'still here');
    used = 70;
    while ((await statusOf(connect(session, `127.0.0.1:${appPort}`))) !== 200) await sleep(20);
  });

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

  describe('from a waypoint', () => {
    const WAYPOINT = 'spiffe://cluster.local/ns/default/sa/wp';
    const WP = 'shop/wp.shop.svc.cluster.local';
    const WEB = 'shop/web.shop.svc.cluster.local';
    const TOLD = `for="198.18.0.7:41000";host=web.shop.svc.cluster.local;identity="${CLIENT}"`;
    const gateway = { by: 'hostname', service: WP, hboneMtlsPort: 15008 } as const;
    const byAddress = {
      by: 'address',
      address: { network: '', ip: '198.19.0.9' },
      hboneMtlsPort: 0,
    } as const;
    const apply = (...upserts: (Workload | Service)[]) => mesh.workloads.apply({ upserts, removed: [] });
    const served = () => toyWorkload('server', '127.0.0.1', { services: [{ service: WEB, ports: [] }] });
    let waypointBundle: CertificateBundle;

    before(async () => {
      waypointBundle = await ca.issue(WAYPOINT);
    });

    beforeEach(() => {
      apply(
        toyWorkload('wp', '198.18.0.3', { services: [{ service: WP, ports: [] }] }),
        toyWorkload('client', '198.18.0.7'),
        service('wp', '198.19.0.9'),
      );
    });

    const ask = async (bundle: CertificateBundle, forwarded = TOLD) => {
      mesh.records.length = 0;
      const stream = connect(dial(bundle), `127.0.0.1:${appPort}`, { forwarded });
      const status = await statusOf(stream);
      stream.end();
      const record = await eventually(() => mesh.records.find((r) => r.level !== 'debug'));
      return { status, fields: record.fields };
    };
    const CLIENT_BLOCK = { bytes: [198, 18, 0, 7], length: 32 };

    const serving: [what: string, prepare: () => void][] = [
      ['of its service', () => apply(service('web', '198.19.0.1', { waypoint: gateway }), served())],
      [
        'of its service by address',
        () => apply(service('web', '198.19.0.1', { waypoint: byAddress }), served()),
      ],
      [
        'of its service by weight',
        () => apply(service('web', '198.19.0.1', { weightedWaypoints: [{ gateway, weight: 0 }] }), served()),
      ],
      ['of its own', () => apply(toyWorkload('server', '127.0.0.1', { waypoint: gateway }))],
    ];
    for (const [what, prepare] of serving) {
      it(`${what}, takes the client that it tells`, async () => {
        prepare();
        const { status, fields } = await ask(waypointBundle);
        assert.equal(status, 200);
        assert.deepEqual(sockets.truePeers, [{ ip: '198.18.0.7', port: 41000 }]);
        assert.equal(fields['src.addr'], '198.18.0.7:41000');
        assert.equal(fields['src.identity'], CLIENT);
        assert.equal(fields['src.workload'], 'client');
        assert.equal(fields['via'], WP);
        assert.equal(fields['via.identity'], WAYPOINT);
        const { flows } = mesh.metrics.takeBatch();
        assert.ok(flows.some((f) => f.labels.includes(CLIENT)));
      });
    }

    const unrelated: [what: string, prepare: () => void, uri: string][] = [
      [
        'a waypoint of other workloads',
        () => apply(service('web', '198.19.0.1', { waypoint: gateway })),
        WAYPOINT,
      ],
      [
        'any other peer, though the pod has a waypoint',
        () => apply(service('web', '198.19.0.1', { waypoint: gateway }), served()),
        'spiffe://cluster.local/ns/default/sa/other',
      ],
      [
        'who is named as the waypoint, but is none of its instances',
        () => {
          apply(service('web', '198.19.0.1', { waypoint: gateway }), served());
          mesh.workloads.apply({ upserts: [], removed: ['Kubernetes//Pod/default/wp'] });
        },
        WAYPOINT,
      ],
    ];
    for (const [what, prepare, uri] of unrelated) {
      it(`believes nothing of ${what}`, async () => {
        prepare();
        mesh.policies.upsert(toyPolicy('no-7', 'deny', { sourceIps: [CLIENT_BLOCK] }));
        const { status, fields } = await ask(await ca.issue(uri));
        assert.equal(status, 200);
        assert.equal(sockets.truePeers[0]?.ip, '127.0.0.1');
        assert.equal(fields['src.identity'], uri);
        assert.match(String(fields['src.addr']), /^127\.0\.0\.1:/);
        assert.equal(fields['via'], undefined);
      });
    }

    it('is shown as itself when what it tells is malformed', async () => {
      apply(service('web', '198.19.0.1', { waypoint: gateway }), served());
      for (const bad of [
        `for="127.0.0.1:80"`,
        `for="2001:db8::1:80"`,
        `for="198.18.0.7:1";identity="x"`,
        `${TOLD}, ${TOLD}`,
      ]) {
        const { status, fields } = await ask(waypointBundle, bad);
        assert.equal(status, 200);
        assert.equal(fields['src.identity'], WAYPOINT, bad);
        assert.equal(sockets.truePeers.at(-1)?.ip, '127.0.0.1');
      }
    });

    it('shows no identity where it tells none, and no workload that is another’s', async () => {
      apply(service('web', '198.19.0.1', { waypoint: gateway }), served());
      const silent = await ask(waypointBundle, 'for="198.18.0.7:41000"');
      assert.equal(silent.fields['src.identity'], undefined);
      assert.equal(silent.fields['src.workload'], 'client');
      const odd = await ask(waypointBundle, `for="198.18.0.3:41000";identity="${CLIENT}"`);
      assert.equal(odd.fields['src.identity'], CLIENT);
      assert.equal(odd.fields['src.workload'], undefined);
    });

    it('is asked by address blocks of the true client, and by principals of the waypoint', async () => {
      apply(service('web', '198.19.0.1', { waypoint: gateway }), served());
      const principal = (uri: string) => ({ how: 'exact', text: uri.slice('spiffe://'.length) }) as const;
      mesh.policies.upsert(toyPolicy('only-wp', 'allow', { principals: [principal(WAYPOINT)] }));
      assert.equal((await ask(waypointBundle)).status, 200);
      const direct = await ask(clientBundle);
      assert.equal(direct.status, 401);
      assert.equal(direct.fields['via'], undefined);
      mesh.policies.upsert(toyPolicy('no-client', 'deny', { principals: [principal(CLIENT)] }));
      assert.equal((await ask(waypointBundle)).status, 200, 'what is told must not count as a principal');
      mesh.policies.upsert(toyPolicy('no-7', 'deny', { sourceIps: [CLIENT_BLOCK] }));
      const denied = await ask(waypointBundle);
      assert.equal(denied.status, 401);
      assert.equal(denied.fields['policy'], 'default/no-7');
      assert.equal(denied.fields['src.addr'], '198.18.0.7:41000');
      assert.equal(denied.fields['via.identity'], WAYPOINT);
    });

    it('is believed once its service is known, which may be during the wait', async () => {
      mesh.workloads.apply({ upserts: [], removed: ['Kubernetes//Pod/default/server'] });
      const stream = connect(dial(waypointBundle), `127.0.0.1:${appPort}`, { forwarded: TOLD });
      await eventually(() => mesh.registry.size > 0);
      apply(service('web', '198.19.0.1', { waypoint: gateway }), served());
      assert.equal(await statusOf(stream), 200);
      assert.deepEqual(sockets.truePeers, [{ ip: '198.18.0.7', port: 41000 }]);
      stream.end();
      const record = await eventually(() => mesh.records.find((r) => r.level !== 'debug'));
      assert.equal(record.fields['src.addr'], '198.18.0.7:41000');
    });

    it('keeps a live connection as it was admitted when the waypoint’s instance leaves', async () => {
      apply(service('web', '198.19.0.1', { waypoint: gateway }), served());
      mesh.policies.upsert(toyPolicy('only-7', 'allow', { sourceIps: [CLIENT_BLOCK] }));
      const stream = connect(dial(waypointBundle), `127.0.0.1:${appPort}`, { forwarded: TOLD });
      assert.equal(await statusOf(stream), 200);
      mesh.workloads.apply({ upserts: [], removed: ['Kubernetes//Pod/default/wp'] });
      mesh.registry.recheckSoon();
      await new Promise((resolve) => setImmediate(() => setImmediate(resolve)));
      stream.end('still');
      assert.equal(await readAll(stream), 'still');
    });
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
    const bundles = await Promise.all(Array.from({ length: bound }, (_, i) => ca.issue(`${CLIENT}-${i}`)));
    const streams = bundles.map((bundle) => connect(dial(bundle), `127.0.0.1:${appPort}`));
    assert.deepEqual(await Promise.all(streams.map(statusOf)), Array(bound).fill(200));
    assert.equal(await crowdedOut, 'ECONNRESET');
    const extra = net.connect(port, '127.0.0.1');
    assert.equal(await errorCode(extra), 'ECONNRESET');
    for (const socket of silent) socket.destroy();
  });
});
