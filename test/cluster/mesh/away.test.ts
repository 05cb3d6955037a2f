import assert from 'node:assert/strict';
import { setTimeout as sleep } from 'node:timers/promises';
import { idle, namespace } from '../support/apps.ts';
import { TestCluster, type TestPod } from '../support/cluster.ts';
import { AMBIENT, installed, SYSTEM } from '../support/installation.ts';
import { echo, Load } from '../support/load.ts';

const AWAY_MS = 60_000;

describe('the API server is away', function () {
  this.timeout(600_000);
  const cluster = TestCluster.open();
  const ns = 'away';
  const objects = [
    namespace(ns, AMBIENT),
    ...echo(ns, 'echo', 'node2'),
    idle(ns, 'client', { node: 'node1' }),
  ];
  before(async () => {
    await installed(cluster);
    await cluster.apply(...objects);
  });
  after(() => cluster.remove(...objects));

  it('for a minute, as one that answers nobody, and no connection of the mesh fails', async () => {
    await cluster.readyPods(ns, 'app=echo');
    const [client] = await cluster.readyPods(ns, 'app=client');
    assert.ok(client);
    const load = await Load.start(cluster, client, `echo.${ns}`);
    const pid = cluster.processId('kube-apiserver');
    process.kill(pid, 'SIGSTOP');
    try {
      await sleep(AWAY_MS);
    } finally {
      process.kill(pid, 'SIGCONT');
    }
    await load.stopWhole();
    await settled(client);
  });

  it('while the controllers are killed: the new ones serve nobody until they know what is true, and nodes go on', async () => {
    const [client] = await cluster.readyPods(ns, 'app=client');
    assert.ok(client);
    const controllers = await cluster.readyPods(SYSTEM, 'app.kubernetes.io/name=loam-controller', 2);
    const load = await Load.start(cluster, client, `echo.${ns}`);
    const pid = cluster.processId('kube-apiserver');
    process.kill(pid, 'SIGSTOP');
    try {
      for (const pod of controllers) await cluster.kill(pod);
      for (const { spec, status } of controllers)
        await cluster.until('the new controller says that it waits for the API server', async () => {
          const node = spec.nodeName ?? '';
          const { code, body } = await asked(node, `http://${status.podIP}:15021/healthz/ready`);
          return code === 503 && body.includes('authority');
        });
    } finally {
      process.kill(pid, 'SIGCONT');
    }
    await cluster.until('the controllers are ready again', async () => {
      const again = await cluster.readyPods(SYSTEM, 'app.kubernetes.io/name=loam-controller', 2);
      return again.every((pod) => (pod.status.containerStatuses?.[0]?.restartCount ?? 0) > 0);
    });
    await load.stopWhole();
    await settled(client);
  });

  it('for as long as it takes to be started again after a kill, and no connection fails', async () => {
    const [client] = await cluster.readyPods(ns, 'app=client');
    assert.ok(client);
    const load = await Load.start(cluster, client, `echo.${ns}`);
    const before = cluster.processId('kube-apiserver');
    process.kill(before, 'SIGKILL');
    await cluster.until('the API server answers again', async () => {
      return (
        cluster.processId('kube-apiserver') !== before && (await cluster.client.text('/readyz')) === 'ok'
      );
    });
    await load.stopWhole();
  });

  /**
   * Kubernetes finds the nodes' leases expired and takes their pods for not ready, until it has heard of the nodes again: a
   * Service has no endpoint then, with or without a mesh.
   */
  async function settled(client: TestPod): Promise<void> {
    const since = Date.now();
    const leases = '/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases';
    await cluster.until('the nodes are heard of again', async () => {
      const { items } = await cluster.client.get<{ items: { spec: { renewTime: string } }[] }>(leases);
      return items.length > 0 && items.every(({ spec }) => Date.parse(spec.renewTime) > since);
    });
    // The node controller looks every five seconds.
    await sleep(12_000);
    await cluster.readyPods(ns, 'app=echo');
    await cluster.until('connections succeed', async () => {
      const load = await Load.start(cluster, client, `echo.${ns}`, { streams: 0, connections: 20 });
      await load.enough();
      return (await load.stop()).failed === 0;
    });
  }

  /** From a node, as a kubelet asks. */
  async function asked(node: string, url: string): Promise<{ code: number; body: string }> {
    const script = `fetch('${url}').then(async (r) => console.log(JSON.stringify({ code: r.status, body: await r.text() })), () => console.log('{"code":0,"body":""}'))`;
    return JSON.parse(await cluster.onNode(node, [process.execPath, '-e', script])) as {
      code: number;
      body: string;
    };
  }
});
