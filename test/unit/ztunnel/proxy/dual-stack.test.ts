import assert from 'node:assert/strict';
import { once } from 'node:events';
import http2 from 'node:http2';
import net from 'node:net';
import { after, afterEach, before, beforeEach, describe, it } from 'mocha';
import type { CertificateBundle } from '../../../../lib/mesh/identity/certificate-bundle.ts';
import type { HbonePool } from '../../../../lib/mesh/hbone/hbone-pool.ts';
import { HboneServer } from '../../../../ztunnel/proxy/hbone-server.ts';
import { servePlaintext } from '../../../../ztunnel/proxy/inbound-plaintext.ts';
import { serveOutbound } from '../../../../ztunnel/proxy/outbound.ts';
import { Pod } from '../../../../ztunnel/proxy/pod.ts';
import { service } from '../../lib/mesh/state/mesh.ts';
import { TestCa } from '../support/certificates.ts';
import { eventually, readAll } from '../support/streams.ts';
import { LoopbackPod, toyMesh, toyPolicy, toyWorkload, type ToyMesh } from '../support/toy-mesh.ts';

const CLIENT = 'spiffe://cluster.local/ns/default/sa/client';
const SERVER = 'spiffe://cluster.local/ns/default/sa/server';
const WAYPOINT = 'spiffe://cluster.local/ns/default/sa/wp';
const INFO = { uid: 'uid-server', name: 'server', namespace: 'default', serviceAccount: 'server' };

async function listening(made: net.Server, host: string, port = 0): Promise<number> {
  made.listen(port, host);
  await once(made, 'listening');
  return (made.address() as net.AddressInfo).port;
}

function echo(socket: net.Socket): void {
  socket.on('error', () => undefined);
  socket.pipe(socket);
}

describe('ztunnel/proxy: both families, inbound', () => {
  let bundles: Record<'client' | 'server' | 'waypoint', CertificateBundle>;
  let ca: TestCa;
  let mesh: ToyMesh;
  let sockets: LoopbackPod;
  let server: HboneServer;
  let listeners: net.Server[];
  let hbone: number;
  let app: number;
  const sessions: http2.ClientHttp2Session[] = [];

  before(async () => {
    ca = await TestCa.create();
    const [client, own, waypoint] = await Promise.all([CLIENT, SERVER, WAYPOINT].map((uri) => ca.issue(uri)));
    assert.ok(client && own && waypoint);
    bundles = { client, server: own, waypoint };
  });

  beforeEach(async () => {
    mesh = toyMesh();
    const addresses = ['127.0.0.1', '::1'];
    mesh.workloads.apply({ upserts: [toyWorkload('server', '', { addresses })], removed: [] });
    mesh.certificates.put(bundles.server);
    sockets = new LoopbackPod();
    server = new HboneServer(new Pod(INFO, mesh, sockets));
    const accepting = net.createServer({ allowHalfOpen: true, pauseOnConnect: true }, (s) => {
      void server.accept(s);
    });
    // A socket of both families, as the agent's: IPv4 peers and destinations are shown mapped.
    hbone = await listening(accepting, '::');
    const [app6, app4] = [
      net.createServer({ allowHalfOpen: true }, echo),
      net.createServer({ allowHalfOpen: true }, echo),
    ];
    app = await listening(app6, '::1');
    await listening(app4, '127.0.0.1', app);
    listeners = [accepting, app6, app4];
  });

  afterEach(() => {
    for (const session of sessions.splice(0)) session.destroy();
    server.destroy();
    for (const listener of listeners) listener.close();
  });

  async function ask(
    to: string,
    authority: string,
    forwarded: string,
    who: 'client' | 'waypoint' = 'client',
  ) {
    const session = http2.connect(`https://${to}:${hbone}`, {
      ca: ca.root.toString('pem'),
      cert: bundles[who].certChainPem,
      key: bundles[who].keyPem,
      checkServerIdentity: () => undefined,
    });
    session.on('error', () => undefined);
    sessions.push(session);
    const stream = session.request(
      { ':method': 'CONNECT', ':authority': authority, forwarded },
      { endStream: false },
    );
    stream.on('error', () => undefined);
    const [headers] = (await once(stream, 'response')) as [{ ':status'?: number }];
    stream.end('echo');
    const text = headers[':status'] === 200 ? await readAll(stream) : '';
    return { status: headers[':status'], text };
  }

  it('serves IPv6 destinations to IPv6 peers, with the port that the client used', async () => {
    const answer = await ask('[::1]', `[::1]:${app}`, 'for="[::1]:40001"');
    assert.deepEqual(answer, { status: 200, text: 'echo' });
    assert.deepEqual(sockets.truePeers, [{ ip: '::1', port: 40001 }]);
    const { fields } = await eventually(() => mesh.records.find((r) => r.message === 'connection complete'));
    assert.equal(fields['src.addr'], '[::1]:40001');
    assert.equal(fields['dst.addr'], `[::1]:${app}`);
  });

  it('takes IPv4 that its socket shows mapped, and authorities that write it so, for IPv4', async () => {
    for (const authority of [`127.0.0.1:${app}`, `[::ffff:127.0.0.1]:${app}`]) {
      const answer = await ask('127.0.0.1', authority, 'for="127.0.0.1:40001"');
      assert.deepEqual(answer, { status: 200, text: 'echo' });
    }
    assert.deepEqual(sockets.truePeers, Array(2).fill({ ip: '127.0.0.1', port: 40001 }));
  });

  it('serves every address of the pod, whichever accepted, and no other', async () => {
    assert.equal((await ask('127.0.0.1', `[::1]:${app}`, '')).status, 200);
    for (const authority of [`[::2]:${app}`, `127.0.0.2:${app}`, '[::1]:15008', `[::]:${app}`, `::1:${app}`])
      assert.equal((await ask('[::1]', authority, '')).status, 400, authority);
    mesh.workloads.apply({ upserts: [toyWorkload('server', '127.0.0.1')], removed: [] });
    assert.equal((await ask('127.0.0.1', `[::1]:${app}`, '')).status, 400, 'an address that it has no more');
  });

  it('shows an application on IPv4 the client by its own IPv4 address, where the mesh knows that', async () => {
    // Its own certificate proves that ::1 is the client's, whose other address is known.
    const own = toyWorkload('client', '', { addresses: ['::1', '198.18.0.7'] });
    assert.equal((await ask('[::1]', `127.0.0.1:${app}`, 'for="[::1]:40001"')).status, 200);
    assert.deepEqual(
      sockets.truePeers.at(-1),
      { ip: '::1', port: 40001 },
      'else the kernel finds a stand-in',
    );
    // The server of this test has ::1 too; the newest owner of an address is its owner.
    mesh.workloads.apply({ upserts: [own], removed: [] });
    assert.equal((await ask('[::1]', `127.0.0.1:${app}`, 'for="[::1]:40001"')).status, 200);
    assert.deepEqual(sockets.truePeers.at(-1), { ip: '198.18.0.7', port: 40001 });
  });

  it('takes an IPv6 client from a waypoint, and judges by it', async () => {
    const wp = 'shop/wp.shop.svc.cluster.local';
    const web = 'shop/web.shop.svc.cluster.local';
    const waypoint = { by: 'hostname', service: wp, hboneMtlsPort: 15008 } as const;
    mesh.workloads.apply({
      upserts: [
        toyWorkload('wp', '198.18.0.3', { services: [{ service: wp, ports: [] }] }),
        service('wp', '198.19.0.9'),
        service('web', '198.19.0.1', { waypoint }),
        toyWorkload('server', '', {
          addresses: ['127.0.0.1', '::1'],
          services: [{ service: web, ports: [] }],
        }),
      ],
      removed: [],
    });
    const told = 'for="[fd00::7]:41000"';
    assert.equal((await ask('[::1]', `[::1]:${app}`, told, 'waypoint')).status, 200);
    assert.deepEqual(sockets.truePeers.at(-1), { ip: 'fd00::7', port: 41000 });
    assert.equal((await ask('127.0.0.1', `127.0.0.1:${app}`, told, 'waypoint')).status, 200);
    assert.deepEqual(sockets.truePeers.at(-1), { ip: 'fd00::7', port: 41000 });
    const block = { bytes: [0xfd, ...Array<number>(15).fill(0)], length: 8 };
    mesh.policies.upsert(toyPolicy('no-v6', 'deny', { sourceIps: [block] }));
    assert.equal(
      (await ask('127.0.0.1', `127.0.0.1:${app}`, told, 'waypoint')).status,
      401,
      'policy knows better',
    );
  });

  for (const [what, match, open] of [
    [
      'an IPv6 source',
      { sourceIps: [{ bytes: [...Array<number>(15).fill(0), 1], length: 128 }] },
      '127.0.0.1',
    ],
    ['an IPv4 source', { sourceIps: [{ bytes: [127, 0, 0, 0], length: 8 }] }, '[::1]'],
    [
      'an IPv6 destination',
      { destinationIps: [{ bytes: [...Array<number>(15).fill(0), 1], length: 128 }] },
      '127.0.0.1',
    ],
  ] as const) {
    it(`a DENY of ${what} is kept, and says nothing of the other family`, async () => {
      mesh.policies.upsert(toyPolicy('deny', 'deny', match));
      for (const host of ['127.0.0.1', '[::1]'])
        assert.equal((await ask(host, `${host}:${app}`, '')).status, host === open ? 200 : 401, host);
    });
  }
});

describe('ztunnel/proxy: both families, what can only loop or means nothing', () => {
  /** A socket that only has addresses, and is reset. */
  function accepted(local: string, remote: string): { socket: net.Socket; reset: () => boolean } {
    const socket = new net.Socket();
    let wasReset = false;
    Object.defineProperties(socket, {
      localAddress: { value: local },
      localPort: { value: 8080 },
      remoteAddress: { value: remote },
      remotePort: { value: 40000 },
      resetAndDestroy: { value: () => ((wasReset = true), socket.destroy()) },
    });
    return { socket, reset: () => wasReset };
  }

  function pod(mesh = toyMesh()): { pod: Pod; sockets: LoopbackPod } {
    const sockets = new LoopbackPod();
    mesh.workloads.apply({ upserts: [toyWorkload('server', 'fd00::2')], removed: [] });
    return { pod: new Pod(INFO, mesh, sockets), sockets };
  }

  for (const [local, remote] of [
    ['::1', 'fd00::9'],
    ['::ffff:127.0.0.1', '::ffff:198.18.0.9'],
    ['fe80::1%eth0', 'fe80::2%eth0'],
    ['ff02::1', 'fd00::9'],
    ['fd00::2', '::1'],
    ['::', 'fd00::9'],
  ] as const) {
    it(`refuses plaintext from ${remote} to ${local}`, async () => {
      const { pod: served, sockets } = pod();
      const { socket, reset } = accepted(local, remote);
      await servePlaintext(served, socket);
      assert.ok(reset());
      assert.equal(sockets.dialled, 0);
    });
  }

  for (const ip of ['::1', '::', 'fe80::2', 'ff02::1', '::127.0.0.1', '127.0.0.1', '0.0.0.0', '224.0.0.1']) {
    it(`carries nothing to ${ip}`, async () => {
      const { pod: served, sockets } = pod();
      sockets.originalDst = () => ({ ip, port: 80 });
      const { socket, reset } = accepted('fd00::2', 'fd00::2');
      await serveOutbound(served, socket);
      assert.ok(reset());
      assert.equal(sockets.dialled, 0);
    });
  }
});

describe('ztunnel/proxy: both families, outbound', () => {
  const opened: { peer: string; headers: Record<string, string> }[] = [];
  const pool = {
    open: (key: { address: { ip: string } }, _source: unknown, headers: Record<string, string>) => {
      opened.push({ peer: key.address.ip, headers });
      return Promise.reject(new Error('enough'));
    },
  } as unknown as HbonePool;
  const mesh = toyMesh({ pool });
  const web = service('web', undefined, {
    addresses: [
      { network: '', ip: '198.19.0.1' },
      { network: '', ip: 'fd99::1' },
    ],
    ipFamilies: 'dual',
  });
  const serves = { services: [{ service: web.key, ports: [] }] };
  const endpoint = (addresses: string[]) => toyWorkload('web', '', { addresses, ...serves });
  let destination = { ip: '', port: 80 };
  let pods: Pod;

  before(() => {
    const sockets = new LoopbackPod();
    sockets.originalDst = () => destination;
    pods = new Pod(INFO, mesh, sockets);
    mesh.workloads.apply({
      upserts: [web, toyWorkload('server', '', { addresses: ['198.18.0.2', 'fd00::2'] })],
      removed: [],
    });
  });
  after(() => opened.splice(0));

  async function dialled(to: string, client: string) {
    destination = { ip: to, port: 80 };
    opened.length = 0;
    const socket = new net.Socket();
    Object.defineProperties(socket, {
      remoteAddress: { value: client },
      remotePort: { value: 40000 },
    });
    await serveOutbound(pods, socket);
    const [first] = opened;
    return (
      first && {
        peer: first.peer,
        authority: first.headers[':authority'],
        forwarded: first.headers['forwarded'],
      }
    );
  }

  it('dials the family that was asked for, names it in brackets, and tells the client in the family that it dials', async () => {
    mesh.workloads.apply({ upserts: [endpoint(['198.18.0.3', 'fd00::3'])], removed: [] });
    assert.deepEqual(await dialled('fd99::1', 'fd00::2'), {
      peer: 'fd00::3',
      authority: '[fd00::3]:8080',
      forwarded: 'for="[fd00::2]:40000";host=web.shop.svc.cluster.local',
    });
    assert.deepEqual(await dialled('198.19.0.1', '::ffff:198.18.0.2'), {
      peer: '198.18.0.3',
      authority: '198.18.0.3:8080',
      forwarded: 'for="198.18.0.2:40000";host=web.shop.svc.cluster.local',
    });
    mesh.workloads.apply({ upserts: [endpoint(['198.18.0.3'])], removed: [] });
    assert.equal(
      (await dialled('fd99::1', 'fd00::2'))?.forwarded,
      'for="198.18.0.2:40000";host=web.shop.svc.cluster.local',
    );
    mesh.workloads.apply({ upserts: [endpoint(['fd00::3'])], removed: [] });
    assert.deepEqual(await dialled('198.19.0.1', '198.18.0.2'), {
      peer: 'fd00::3',
      authority: '[fd00::3]:8080',
      forwarded: 'for="[fd00::2]:40000";host=web.shop.svc.cluster.local',
    });
  });
});
