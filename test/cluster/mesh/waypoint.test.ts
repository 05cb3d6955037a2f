import assert from 'node:assert/strict';
import { count, type Counts, type Driver } from '../../mesh/driver.ts';
import { namespace } from '../support/apps.ts';
import { TestCluster } from '../support/cluster.ts';
import { AMBIENT, installed } from '../support/installation.ts';
import {
  gateway,
  programmed,
  split,
  USE,
  wayClient,
  wayDriver,
  wayServer,
  wayService,
} from '../support/way.ts';

const SOCKETS = 8;
const MANY = 2_000;

describe('a waypoint on the cluster', function () {
  this.timeout(600_000);
  const cluster = TestCluster.open();
  const ns = 'way';
  const objects = [
    namespace(ns, { ...AMBIENT, [USE]: 'waypoint' }),
    gateway(ns, 'waypoint'),
    wayServer(ns, 'v1', 'web'),
    wayServer(ns, 'v2', 'web'),
    wayServer(ns, 'apart', 'apart'),
    gateway(ns, 'pods', undefined, { 'loam.dev/waypoint-for': 'workload' }),
    wayServer(ns, 'alone', 'alone', { [USE]: 'pods' }),
    // Its ServiceAccount has the name that a waypoint's would need.
    gateway(ns, 'default'),
    wayService(ns, 'web', { run: 'web' }),
    wayService(ns, 'v1', { app: 'v1' }),
    wayService(ns, 'v2', { app: 'v2' }),
    wayService(ns, 'apart', { run: 'apart' }, 'none'),
    wayClient(ns, 'client'),
    split(ns, { v1: 90, v2: 10 }),
  ];
  let client: Driver;

  before(async () => {
    await installed(cluster);
    await cluster.apply(...objects);
    for (const app of ['v1', 'v2', 'apart', 'alone']) await cluster.readyPods(ns, `app=${app}`);
    await programmed(cluster, ns, 'waypoint');
    client = await wayDriver(cluster, ns, 'client');
  });
  after(async () => {
    client?.stop();
    await cluster.remove(...objects);
  });

  const target = { host: `web.${ns}`, port: 80, path: '/status' } as const;
  const many = (n: number): Promise<Counts> => client.burst({ ...target, n, sockets: SOCKETS });
  const shareOf = (counts: Counts, pod: string): number =>
    (100 * count(counts, `200 ${pod}`)) / count(counts);

  it('is made of its Gateway, with no more rights than it needs, and goes with it', async () => {
    const [pod] = await cluster.readyPods(ns, 'gateway.networking.k8s.io/gateway-name=waypoint');
    assert.ok(pod);
    for (const path of [
      `/apis/apps/v1/namespaces/${ns}/deployments/waypoint`,
      `/api/v1/namespaces/${ns}/services/waypoint`,
      `/api/v1/namespaces/${ns}/serviceaccounts/waypoint`,
      `/apis/policy/v1/namespaces/${ns}/poddisruptionbudgets/waypoint`,
    ]) {
      const { metadata } = await cluster.client.get<{ metadata: { ownerReferences?: { kind: string }[] } }>(
        path,
      );
      assert.deepEqual(
        metadata.ownerReferences?.map(({ kind }) => kind),
        ['Gateway'],
        path,
      );
    }
    const look = `const fs = require('node:fs');
      const may = (work) => { try { work(); return true; } catch { return false; } };
      console.log(JSON.stringify({
        uid: process.getuid(),
        writes: may(() => fs.writeFileSync('/app/written', '')),
        api: fs.existsSync('/var/run/secrets/kubernetes.io'),
        token: fs.readdirSync('/var/run/secrets/loam').includes('token'),
        root: fs.readFileSync('/var/run/secrets/loam-root/root-cert.pem', 'utf8').includes('BEGIN CERTIFICATE'),
        caps: /CapEff:\\s*0+$/m.test(fs.readFileSync('/proc/self/status', 'utf8')),
      }))`;
    const said = await cluster.inPod(pod, ['/usr/local/bin/node', '-e', look]);
    assert.deepEqual(JSON.parse(said), {
      ...{ uid: 65532, writes: false, api: false },
      ...{ token: true, root: true, caps: true },
    });
  });

  it('stands before the Services of its namespace, and not before the one that wants none', async () => {
    const via = (host: string): Promise<string> =>
      client.burst({ host, port: 80, path: '/via', n: 1 }).then((counts) => JSON.stringify(counts));
    await cluster.until('it stands before the Service', async () =>
      /200 v[12] via waypoint/.test(await via(`web.${ns}`)),
    );
    await cluster.until('it stands not before the other', async () =>
      (await via(`apart.${ns}`)).includes('200 apart via nobody'),
    );
  });

  it('stands before a pod that asks for one, at its own address', async () => {
    const [pod] = await cluster.readyPods(ns, 'app=alone');
    await programmed(cluster, ns, 'pods');
    const [waypoint] = await cluster.readyPods(ns, 'gateway.networking.k8s.io/gateway-name=pods');
    assert.ok(pod && waypoint);
    const host = pod.status.podIP ?? '';
    await cluster.until('it stands before the pod', async () => {
      // What it carried it says when the connection ends.
      const counts = await client.burst({ host, port: 8080, path: '/via', n: 1, fresh: true });
      assert.match(JSON.stringify(counts), /200 alone/);
      // No Service says that the port's protocol is HTTP, so that its bytes are carried as they are.
      const carried = `"dst.workload":"${pod.metadata.name}"`;
      return (await cluster.log(waypoint, 'waypoint')).includes(carried);
    });
  });

  it('is not made where something else has its name, and its Gateway says what', async () => {
    await cluster.until('the Gateway says so', async () => {
      const { status } = await cluster.client.get<{
        status?: { conditions?: { type: string; status: string; reason: string; message: string }[] };
      }>(`/apis/gateway.networking.k8s.io/v1/namespaces/${ns}/gateways/default`);
      const found = status?.conditions?.find(({ type }) => type === 'Programmed');
      return (
        found?.reason === 'Invalid' && found.message.startsWith(`ServiceAccount ${ns}/default is there and`)
      );
    });
  });

  it('shares requests out as its route says, and a new share at an edit, with no request lost at the change', async () => {
    await cluster.until('the route is in force', async () => {
      const share = shareOf(await many(200), 'v1');
      return share > 80 && share < 97;
    });
    const first = await many(MANY);
    assert.equal(count(first, '200 '), MANY, JSON.stringify(first));
    assert.ok(Math.abs(shareOf(first, 'v1') - 90) <= 3, JSON.stringify(first));

    await client.loadStart({ id: 'change', ...target, sockets: SOCKETS });
    await cluster.apply(split(ns, { v1: 50, v2: 50 }));
    await cluster.until('the edit is in force', async () => shareOf(await many(200), 'v2') > 30);
    const change = await client.loadStop('change');
    assert.equal(count(change, '200 '), count(change), JSON.stringify(change));
    assert.ok(count(change) > 0);

    const second = await many(MANY);
    assert.equal(count(second, '200 '), MANY, JSON.stringify(second));
    assert.ok(Math.abs(shareOf(second, 'v1') - 50) <= 5, JSON.stringify(second));
  });
});
