import assert from 'node:assert/strict';
import { once } from 'node:events';
import net from 'node:net';
import { after, afterEach, before, beforeEach, describe, it } from 'mocha';
import { HbonePool } from '../../../../lib/mesh/hbone/hbone-pool.ts';
import type { GatewayAddress, Workload } from '../../../../lib/mesh/state/model.ts';
import { serveOutbound } from '../../../../ztunnel/proxy/outbound.ts';
import { Pod } from '../../../../ztunnel/proxy/pod.ts';
import { port, service } from '../../lib/mesh/state/mesh.ts';
import { TestCa } from '../support/certificates.ts';
import { errorCode, eventually, readAll } from '../support/streams.ts';
import { giveCertificate, LoopbackPod, toyMesh, toyWorkload, type ToyMesh } from '../support/toy-mesh.ts';
import { closedPort, ToyWaypoint } from '../support/toy-waypoint.ts';

const VIP = '198.19.0.1';
const WP = 'shop/wp.shop.svc.cluster.local';
const GATEWAY: GatewayAddress = { by: 'hostname', service: WP, hboneMtlsPort: 15008 };
const IDENTITY = 'spiffe://cluster.local/ns/default/sa/wp';

/** A pod whose application always dials the VIP. */
class VipPod extends LoopbackPod {
  override originalDst() {
    return { ip: VIP, port: 80 };
  }
}

describe('ztunnel/proxy: outbound through a waypoint', () => {
  let ca: TestCa;
  let mesh: ToyMesh;
  let outbound: net.Server;
  const waypoints: ToyWaypoint[] = [];

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
    mesh.workloads.apply({
      upserts: [
        toyWorkload('client', '10.0.0.1'),
        service('web', VIP, { waypoint: GATEWAY }),
        service('wp', undefined, { ports: [port(15008)] }),
      ],
      removed: [],
    });
  });

  afterEach(() => {
    for (const waypoint of waypoints.splice(0)) waypoint.close();
    assert.equal(mesh.registry.size, 0, 'a connection stayed registered');
  });

  async function start(uri = IDENTITY): Promise<[ToyWaypoint, number]> {
    const waypoint = new ToyWaypoint(await ca.issue(uri));
    waypoints.push(waypoint);
    return [waypoint, await waypoint.listen()];
  }

  function instance(name: string, hbonePort: number, more: Partial<Workload> = {}): Workload {
    return toyWorkload(name, '127.0.0.1', {
      identity: { trustDomain: 'cluster.local', namespace: 'default', serviceAccount: 'wp' },
      services: [{ service: WP, ports: [port(15008, hbonePort)] }],
      ...more,
    });
  }

  const apply = (...upserts: Workload[]) => mesh.workloads.apply({ upserts, removed: [] });
  const dial = () => net.connect((outbound.address() as net.AddressInfo).port, '127.0.0.1');
  const lastRecord = () => eventually(() => mesh.records.find((record) => record.level !== 'debug'));

  it('asks the waypoint for the VIP as dialled, and tells the client and the service', async () => {
    const [waypoint, at] = await start();
    apply(instance('wp-0', at));
    const client = dial();
    client.end('hello');
    assert.equal(await readAll(client), 'hello');
    const [connect] = waypoint.connects;
    assert.equal(connect?.[':authority'], `${VIP}:80`);
    assert.match(
      String(connect?.['forwarded']),
      /^for="127\.0\.0\.1:\d+";host=web\.shop\.svc\.cluster\.local$/,
    );
    assert.match(String(connect?.['baggage']), /service\.name=client/);
    const { fields } = await lastRecord();
    assert.equal(fields['dst.service'], 'web.shop.svc.cluster.local');
    assert.equal(fields['dst.addr'], `127.0.0.1:${at}`);
    assert.equal(fields['dst.hbone_addr'], `${VIP}:80`);
    assert.equal(fields['dst.workload'], undefined);
    assert.equal(fields['dst.identity'], IDENTITY);
    assert.equal(fields['via'], WP);
    const { flows } = mesh.metrics.takeBatch();
    assert.ok(flows.length > 0 && flows.every((f) => f.labels.includes('web.shop.svc.cluster.local')));
  });

  it('tries another instance, once, when one cannot be reached', async () => {
    const [waypoint, at] = await start();
    // Only chance decides which comes first: with weight on the dead one it is nearly always that.
    apply(instance('wp-0', await closedPort(), { capacity: 1_000_000 }), instance('wp-1', at));
    const client = dial();
    client.end('hello');
    assert.equal(await readAll(client), 'hello');
    assert.equal(waypoint.connects.length, 1);
    assert.equal((await lastRecord()).fields['dst.addr'], `127.0.0.1:${at}`);
  });

  it('gives up after the second, with the flag WAYPOINT and the waypoint’s name', async () => {
    apply(instance('wp-0', await closedPort()), instance('wp-1', await closedPort()));
    assert.equal(await errorCode(dial()), 'ECONNRESET');
    const { fields } = await lastRecord();
    assert.equal(fields['response_flags'], 'WAYPOINT');
    assert.match(String(fields['error']), /through waypoint shop\/wp\.shop.*instance .*cannot connect/);
  });

  it('does not take the answer of a waypoint for a failed instance', async () => {
    for (const [status, flag] of [
      [401, 'DENY'],
      [503, 'CONNECT'],
    ] as const) {
      mesh.records.length = 0;
      const [[a, atA], [b, atB]] = [await start(), await start()];
      apply(instance('wp-0', atA), instance('wp-1', atB));
      a.status = b.status = status;
      assert.equal(await errorCode(dial()), 'ECONNRESET');
      assert.equal(a.connects.length + b.connects.length, 1);
      const { fields } = await lastRecord();
      assert.equal(fields['response_flags'], flag);
      assert.match(String(fields['error']), /through waypoint shop\/wp\.shop/);
    }
  });

  it('sends nothing to a peer that is not the waypoint, and no other instance hides that', async () => {
    const [impostor, at] = await start('spiffe://cluster.local/ns/default/sa/other');
    const [honest, atHonest] = await start();
    apply(instance('wp-0', at, { capacity: 1_000_000_000 }), instance('wp-1', atHonest));
    const client = dial();
    client.write('secret');
    assert.equal(await errorCode(client), 'ECONNRESET');
    assert.equal(impostor.connects.length + honest.connects.length, 0);
    const { fields } = await lastRecord();
    assert.equal(fields['response_flags'], 'TLS_FAILURE');
    assert.match(String(fields['error']), /is not who it should be/);
  });

  const unavailable: [what: string, prepare: () => void, says: RegExp][] = [
    [
      'missing',
      () => mesh.workloads.apply({ upserts: [], removed: [WP] }),
      /waypoint-missing: service shop\/web\.shop.*check that its Gateway exists/,
    ],
    ['without instance', () => undefined, /waypoint-unhealthy: .*no instance/],
    [
      'without healthy instance',
      () => apply(instance('wp-0', 1, { healthy: false })),
      /waypoint-unhealthy: .*its 1 instances 0 are healthy/,
    ],
  ];
  for (const [what, prepare, says] of unavailable) {
    it(`refuses with a flag of its own when the waypoint is ${what}`, async () => {
      prepare();
      const client = dial();
      client.write('secret');
      assert.equal(await errorCode(client), 'ECONNRESET');
      const { fields } = await lastRecord();
      assert.equal(fields['response_flags'], 'WAYPOINT');
      assert.match(String(fields['error']), says);
    });
  }

  it('lets the tunnel to an instance that left take no new connection', async () => {
    const [waypoint, at] = await start();
    const leaving = instance('wp-0', at);
    apply(leaving);
    const first = dial();
    await eventually(() => waypoint.connects.length === 1);
    mesh.workloads.apply({ upserts: [instance('wp-1', at)], removed: [leaving.uid] });
    mesh.pool.evictWorkload(leaving.uid);
    const second = dial();
    second.end('second');
    assert.equal(await readAll(second), 'second');
    assert.equal(waypoint.sessions, 2);
    first.end('still');
    assert.equal(await readAll(first), 'still');
  });
});
