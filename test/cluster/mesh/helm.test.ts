import assert from 'node:assert/strict';
import { isInstalled, installed, loam, AMBIENT, SYSTEM } from '../support/installation.ts';
import { idle, namespace } from '../support/apps.ts';
import { TestCluster, type TestPod } from '../support/cluster.ts';
import { Helm, helmProgram } from '../support/helm.ts';
import { echo, Load } from '../support/load.ts';
import { inMesh } from '../support/node-agent.ts';
import type { KubeObject } from '../support/resources.ts';

/** Begins and ends without an installation of ours, and makes one again for the other files. */
describe('an installation by Helm', function () {
  this.timeout(900_000);
  const cluster = TestCluster.open();
  const helm = new Helm(cluster);
  const ns = 'by-helm';
  const objects = [
    namespace(ns, AMBIENT),
    ...echo(ns, 'echo', 'node2'),
    idle(ns, 'client', { node: 'node1' }),
  ];
  const waypoint: KubeObject = {
    apiVersion: 'gateway.networking.k8s.io/v1',
    kind: 'Gateway',
    metadata: { name: 'waypoint', namespace: ns },
    spec: {
      gatewayClassName: 'loam-waypoint',
      listeners: [{ name: 'mesh', port: 15008, protocol: 'HBONE' }],
    },
  };
  let client: TestPod;

  before(async function () {
    this.timeout(1_800_000);
    helmProgram();
    if (await isInstalled(cluster)) await loam(cluster, 'uninstall');
    await helm.install();
    await cluster.apply(...objects, waypoint);
    await cluster.readyPods(ns, 'app=echo');
    await cluster.readyPods(ns, 'gateway.networking.k8s.io/gateway-name=waypoint');
    const [pod] = await cluster.readyPods(ns, 'app=client');
    assert.ok(pod);
    client = pod;
    await cluster.until(
      'the client is in the mesh',
      async () => (await inMesh(cluster, pod))?.state === 'verified',
    );
  });
  after(async () => {
    helm[Symbol.dispose]();
    await cluster.remove(...objects);
    await installed(cluster);
  });

  /** Names of what is left of an installation, in all kinds that it has objects of. */
  async function left(): Promise<string[]> {
    const namespaced = ['pods', 'serviceaccounts', 'configmaps', 'secrets', 'services'].map(
      (plural) => `/api/v1/namespaces/${SYSTEM}/${plural}`,
    );
    const groups = [
      ...['daemonsets', 'deployments'].map((plural) => `/apis/apps/v1/namespaces/${SYSTEM}/${plural}`),
      `/apis/batch/v1/namespaces/${SYSTEM}/jobs`,
      `/apis/coordination.k8s.io/v1/namespaces/${SYSTEM}/leases`,
      ...['clusterroles', 'clusterrolebindings', 'roles', 'rolebindings'].map(
        (plural) => `/apis/rbac.authorization.k8s.io/v1/${plural}`,
      ),
      '/apis/gateway.networking.k8s.io/v1/gatewayclasses',
      ...['pods', 'configmaps', 'services', 'serviceaccounts'].map(
        (plural) => `/api/v1/namespaces/${ns}/${plural}`,
      ),
      `/apis/apps/v1/namespaces/${ns}/deployments`,
    ];
    const names: string[] = [];
    for (const path of [...namespaced, ...groups]) {
      const { items } = await cluster.client.get<{ items: { metadata: { name: string } }[] }>(path);
      for (const { metadata } of items)
        if (/loam|waypoint/.test(metadata.name)) names.push(`${path}/${metadata.name}`);
    }
    return names;
  }

  it('is removed by helm uninstall: plain networking for every pod, nothing in any kernel, no new connection failed', async () => {
    const load = await Load.start(cluster, client, `echo.${ns}`, { streams: 0 });
    const said = await helm.run('uninstall', 'loam');
    const { made } = await load.stopWhole();
    console.log(`      ${made} new connections, none failed`);
    assert.match(said, /2 of 2 nodes are clean/, 'Helm tells what the hook said');
    for (const { name } of cluster.nodes) {
      assert.doesNotMatch(await cluster.onNode(name, ['ls', '/sys/fs/bpf']), /loam/, name);
      assert.doesNotMatch(await cluster.onNode(name, ['ls', '/run/loam']), /sock/, name);
    }
    await cluster.until('nothing of it is left', async () => {
      const names = await left();
      if (names.length > 0) throw new Error(names.join(' '));
      return true;
    });
    const after = await Load.start(cluster, client, `echo.${ns}`, { connections: 50 });
    await after.enough();
    await after.stopWhole();
  });
});
