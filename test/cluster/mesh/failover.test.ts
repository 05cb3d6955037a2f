import assert from 'node:assert/strict';
import { idle, namespace } from '../support/apps.ts';
import { TestCluster, type TestPod } from '../support/cluster.ts';
import { AMBIENT, installed, SYSTEM } from '../support/installation.ts';
import { echo, Load } from '../support/load.ts';
import { kill, processesOfPod } from '../support/processes.ts';
import type { KubeObject } from '../support/resources.ts';
import { isHbone, onTheWire } from '../support/wire.ts';

/** Some connections, to be seen on the wire. */
const SOME = { streams: 1, workers: 2, pauseMs: 10 };
const MOMENT_MS = 2_000;
const LEASE = `/apis/coordination.k8s.io/v1/namespaces/${SYSTEM}/leases/loam-controller-leader`;

describe('the leading controller dies', function () {
  this.timeout(600_000);
  const cluster = TestCluster.open();
  const ns = 'failover';
  const account: KubeObject = {
    apiVersion: 'v1',
    kind: 'ServiceAccount',
    metadata: { name: 'late', namespace: ns },
  };
  const late = idle(ns, 'late', { node: 'node1' });
  const objects = [
    namespace(ns, AMBIENT),
    ...echo(ns, 'echo', 'node2'),
    idle(ns, 'client', { node: 'node1' }),
    account,
  ];

  before(async () => {
    await installed(cluster);
    await cluster.apply(...objects);
    await cluster.readyPods(ns, 'app=echo');
  });
  after(() => cluster.remove(...objects, late));

  async function leader(): Promise<string> {
    const { spec } = await cluster.client.get<{ spec: { holderIdentity?: string } }>(LEASE);
    return spec.holderIdentity ?? '';
  }

  it('the other one leads, and serves: connections go on, and a new pod of a new identity joins', async () => {
    const [client] = await cluster.readyPods(ns, 'app=client');
    const [server] = await cluster.readyPods(ns, 'app=echo');
    assert.ok(client && server);
    const before = await leader();
    const controllers = await cluster.pods(SYSTEM, 'app.kubernetes.io/name=loam-controller');
    const leading = controllers.find(({ metadata }) => before.includes(metadata.name));
    assert.ok(leading, `${before} is none of ${controllers.map(({ metadata }) => metadata.name).join()}`);

    const load = await Load.start(cluster, client, `echo.${ns}`);
    kill(...processesOfPod(leading));
    await cluster.client.delete(`/api/v1/namespaces/${SYSTEM}/pods/${leading.metadata.name}`, {
      gracePeriodSeconds: 0,
    });
    await cluster.apply(late);
    const pod = await newPod();
    const { segments } = await onTheWire(cluster, [pod, server], async () => {
      await (await Load.start(cluster, pod, `echo.${ns}`, SOME)).stopWhole(MOMENT_MS);
    });
    assert.ok(segments.length > 0 && segments.every(isHbone));
    await cluster.until('another one leads', async () => !['', before].includes(await leader()));
    const { made, streams } = await load.stopWhole();
    console.log(`      ${made} new connections and ${streams} streams, none failed`);
  });

  async function newPod(): Promise<TestPod> {
    const [pod] = await cluster.readyPods(ns, 'app=late');
    assert.ok(pod);
    return pod;
  }
});
