import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { InstallError } from '../../../../cli/install/errors.ts';
import { applyWaypoint, useInNamespace, waitForWaypoint } from '../../../../cli/waypoints/apply.ts';
import { gateways, needGateway, type WaypointWish } from '../../../../cli/waypoints/gateway.ts';
import { healthOf, isWell, type WaypointHealth } from '../../../../cli/waypoints/health.ts';
import { removeWaypoints } from '../../../../cli/waypoints/remove.ts';
import { listText, statusText } from '../../../../cli/waypoints/text.ts';
import { usersOfWaypoints } from '../../../../cli/waypoints/users.ts';
import { FakeCluster } from '../install/fake-cluster.ts';

const WISH: WaypointWish = {
  ...{ namespace: 'shop', name: 'waypoint', for: 'service', from: 'Same' },
  replicas: undefined,
};
const USE = 'loam.dev/use-waypoint';

/** As the controllers, and Kubernetes, would do. */
function deployed(cluster: FakeCluster, { ready = 1, wanted = 1 } = {}): void {
  const gateway = cluster.at('gateway.networking.k8s.io/v1', 'Gateway', 'waypoint', 'shop');
  gateway.metadata['generation'] = 1;
  const isReady = ready > 0;
  gateway.status = {
    addresses: [{ type: 'IPAddress', value: '198.19.0.7' }],
    conditions: [
      { type: 'Accepted', status: 'True', reason: 'Accepted', message: '', observedGeneration: 1 },
      {
        ...{ type: 'Programmed', status: isReady ? 'True' : 'False', observedGeneration: 1 },
        ...{ reason: isReady ? 'Programmed' : 'NoResources', message: isReady ? '' : 'no instance is ready' },
      },
    ],
  };
  cluster.put({
    apiVersion: 'apps/v1',
    kind: 'Deployment',
    metadata: {
      ...{ name: 'waypoint', namespace: 'shop' },
      ownerReferences: [{ kind: 'Gateway', uid: gateway.metadata['uid'] }],
    },
    spec: { replicas: wanted },
    status: { readyReplicas: ready },
  });
  cluster.put({
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: {
      ...{ name: 'waypoint-1', namespace: 'shop' },
      labels: { 'gateway.networking.k8s.io/gateway-name': 'waypoint' },
    },
    spec: { nodeName: 'node1' },
    status: isReady
      ? { conditions: [{ type: 'Ready', status: 'True' }] }
      : {
          containerStatuses: [
            { ready: false, state: { waiting: { reason: 'ImagePullBackOff', message: 'no such image' } } },
          ],
        },
  });
}

function service(cluster: FakeCluster, name: string, labels: Record<string, string>): void {
  cluster.put({ apiVersion: 'v1', kind: 'Service', metadata: { name, namespace: 'shop', labels } });
}

async function health(cluster: FakeCluster): Promise<WaypointHealth> {
  const api = cluster.writable;
  return healthOf(api, await needGateway(api, 'shop', 'waypoint'), await usersOfWaypoints(api));
}

const refused = (work: Promise<unknown>, said: RegExp): Promise<void> =>
  assert.rejects(work, (error) => error instanceof InstallError && said.test(error.message));

describe('loam waypoint', () => {
  it('applies a Gateway of the class, and changes it to what is said next', async () => {
    const cluster = new FakeCluster();
    await applyWaypoint(cluster.writable, WISH);
    const gateway = cluster.at('gateway.networking.k8s.io/v1', 'Gateway', 'waypoint', 'shop');
    assert.deepEqual(gateway.metadata.labels, { 'loam.dev/waypoint-for': 'service' });
    assert.deepEqual(gateway.spec, {
      gatewayClassName: 'loam-waypoint',
      listeners: [
        {
          ...{ name: 'mesh', port: 15008, protocol: 'HBONE' },
          allowedRoutes: { namespaces: { from: 'Same' } },
        },
      ],
    });
    await applyWaypoint(cluster.writable, { ...WISH, for: 'all', replicas: 3, from: 'All' });
    const now = cluster.at('gateway.networking.k8s.io/v1', 'Gateway', 'waypoint', 'shop');
    assert.deepEqual(now.metadata.labels, { 'loam.dev/waypoint-for': 'all' });
    assert.deepEqual(now.metadata['annotations'], { 'loam.dev/replicas': '3' });
  });

  it('says what to do first where Loam or the namespace is not there', async () => {
    const cluster = new FakeCluster();
    await refused(
      applyWaypoint(cluster.writable, { ...WISH, namespace: 'nowhere' }),
      /no namespace nowhere: kubectl create namespace nowhere/,
    );
    cluster.remove('gateway.networking.k8s.io/v1', 'GatewayClass', 'loam-waypoint');
    await refused(
      applyWaypoint(cluster.writable, WISH),
      /Loam is not installed in this cluster; loam install/,
    );
  });

  it('takes no name over that is somebody else’s', async () => {
    const cluster = new FakeCluster();
    cluster.put({
      apiVersion: 'v1',
      kind: 'ServiceAccount',
      metadata: { name: 'default', namespace: 'shop' },
    });
    await refused(
      applyWaypoint(cluster.writable, { ...WISH, name: 'default' }),
      /ServiceAccount shop\/default is there already.*loam waypoint apply default-waypoint -n shop/,
    );
    cluster.put({
      apiVersion: 'gateway.networking.k8s.io/v1',
      kind: 'Gateway',
      metadata: { name: 'waypoint', namespace: 'shop' },
      spec: { gatewayClassName: 'other', listeners: [] },
    });
    await refused(applyWaypoint(cluster.writable, WISH), /is of class other, not loam-waypoint/);
  });

  it('waits for the instances, and says what keeps them when the wait is over', async () => {
    const cluster = new FakeCluster();
    await applyWaypoint(cluster.writable, WISH);
    const wait = { timeoutMs: 1, say: () => undefined };
    await refused(
      waitForWaypoint(cluster.writable, WISH, wait),
      /no controller has said anything of it: see that Loam runs \(loam check\)/,
    );
    deployed(cluster, { ready: 0 });
    await refused(
      waitForWaypoint(cluster.writable, WISH, wait),
      /0 of 1 ready; Programmed is False \(NoResources\): no instance is ready; pod waypoint-1: ImagePullBackOff: no such image/,
    );
    deployed(cluster);
    assert.equal((await waitForWaypoint(cluster.writable, WISH, wait)).programmed, true);
  });

  it('lists waypoints and who asks for them, by whatever label', async () => {
    const cluster = new FakeCluster();
    await applyWaypoint(cluster.writable, WISH);
    deployed(cluster);
    await useInNamespace(cluster.writable, WISH);
    service(cluster, 'payments', { [USE]: 'waypoint' });
    service(cluster, 'auth', { [USE]: 'none' });
    service(cluster, 'db', { [USE]: 'waypoint', 'loam.dev/use-waypoint-namespace': 'other' });
    assert.deepEqual(listText([await health(cluster)]), [
      'NAMESPACE   NAME       FOR       READY   PROGRAMMED   ADDRESS      USED BY',
      'shop        waypoint   service   1/1     yes          198.19.0.7   Namespace shop, Service shop/payments',
    ]);
    assert.equal((await gateways(cluster.writable, 'other')).length, 0);
  });

  it('tells of one that does not work what keeps it, and what to do', async () => {
    const cluster = new FakeCluster();
    await applyWaypoint(cluster.writable, WISH);
    deployed(cluster, { ready: 0, wanted: 0 });
    const now = await health(cluster);
    assert.equal(isWell(now), false);
    const text = statusText(now).join('\n');
    assert.match(text, /^waypoint shop\/waypoint: NOT WELL/);
    assert.match(text, /✗ Programmed is False \(NoResources\): no instance is ready/);
    assert.match(text, /kubectl scale deployment waypoint -n shop --replicas=1/);
    await refused(needGateway(cluster.writable, 'shop', 'other'), /in shop there is: waypoint/);
  });

  it('takes what was said of a former generation for nothing', async () => {
    const cluster = new FakeCluster();
    await applyWaypoint(cluster.writable, WISH);
    deployed(cluster);
    cluster.at('gateway.networking.k8s.io/v1', 'Gateway', 'waypoint', 'shop').metadata['generation'] = 2;
    const now = await health(cluster);
    assert.equal(now.programmed, false);
    assert.match(now.problems.join(), /have not seen its last change yet/);
  });

  it('deletes none that somebody asks for, unless told so', async () => {
    const cluster = new FakeCluster();
    await applyWaypoint(cluster.writable, WISH);
    service(cluster, 'payments', { [USE]: 'waypoint' });
    const said: string[] = [];
    const say = (line: string): void => void said.push(line);
    await refused(
      removeWaypoints(cluster.writable, 'shop', ['waypoint'], { force: false, say }),
      /Service shop\/payments asks for waypoint shop\/waypoint.*first kubectl label service payments -n shop loam\.dev\/use-waypoint-; --force/,
    );
    assert.equal((await gateways(cluster.writable, 'shop')).length, 1);
    await removeWaypoints(cluster.writable, 'shop', ['waypoint'], { force: true, say });
    assert.equal((await gateways(cluster.writable, 'shop')).length, 0);
    assert.deepEqual(said, [
      'waypoint shop/waypoint is deleted',
      '  connections to Service shop/payments are refused now: kubectl label service payments -n shop loam.dev/use-waypoint-',
    ]);
    await refused(
      removeWaypoints(cluster.writable, 'shop', ['waypoint'], { force: false, say }),
      /there is none in shop \(loam waypoint list -A shows all, loam waypoint apply makes one\)/,
    );
  });
});
