import assert from 'node:assert/strict';
import { isDeepStrictEqual } from 'node:util';
import { cleanup } from '../../../cli/install/render/cleanup.ts';
import { isInstalled, installed, loam, AMBIENT, SYSTEM } from '../support/installation.ts';
import { idle, namespace } from '../support/apps.ts';
import { TestCluster, type TestPod } from '../support/cluster.ts';
import { Helm, helmProgram } from '../support/helm.ts';
import { echo, Load } from '../support/load.ts';
import { inMesh } from '../support/node-agent.ts';
import { pathOf, type KubeObject } from '../support/resources.ts';

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
  async function remains(): Promise<string[]> {
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

  it('ends an uninstall that was begun and not ended: none of its pods takes a node out of the mesh later', async () => {
    const left = cleanup(
      SYSTEM,
      {
        ...{ image: 'localhost/loam:dev', imagePullPolicy: 'Never', imagePullSecrets: [] },
        cni: { confFolder: '/etc/cni/net.d', binFolder: '/opt/cni/bin' },
      },
      'takes-plaintext',
    );
    await cluster.apply(left as unknown as KubeObject);
    await helm.install('--set', 'logLevel=debug');
    await cluster.until(
      'DaemonSet loam-cleanup and its pods are gone',
      async () => !(await remains()).some((name) => name.includes('loam-cleanup')),
    );
    assert.equal((await inMesh(cluster, client))?.state, 'verified');
  });

  it('takes the taint off a node whose agent is ready, and no other taint', async () => {
    const node: KubeObject = { apiVersion: 'v1', kind: 'Node', metadata: { name: 'node1' } };
    const other = { key: 'loam.dev/test', effect: 'PreferNoSchedule' };
    const taints = [{ key: 'loam.dev/agent-not-ready', effect: 'NoSchedule' }, other];
    const patch = (spec: object): Promise<unknown> =>
      cluster.client.patch(pathOf(node), { spec }, 'application/merge-patch+json');
    try {
      await patch({ taints });
      await cluster.until('the taint is gone', async () => {
        const { spec } = await cluster.client.get<{ spec: { taints?: object[] } }>(pathOf(node));
        return isDeepStrictEqual(spec.taints, [other]);
      });
    } finally {
      await patch({ taints: null });
    }
  });

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
      const names = await remains();
      if (names.length > 0) throw new Error(names.join(' '));
      return true;
    });
    const after = await Load.start(cluster, client, `echo.${ns}`, { connections: 50 });
    await after.enough();
    await after.stopWhole();
  });
});
