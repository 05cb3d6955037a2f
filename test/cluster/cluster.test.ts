import assert from 'node:assert/strict';
import { readlinkSync } from 'node:fs';
import { deployment, idle, namespace, script, service } from './support/apps.ts';
import { TestCluster } from './support/cluster.ts';

/** The cluster itself, before anything of the mesh is in it: where this fails, nothing else tells anything. */
describe('the test cluster', function () {
  this.timeout(300_000);
  const cluster = TestCluster.open();
  const ns = 'plain';
  const objects = [
    namespace(ns),
    deployment(ns, 'server', { node: 'node2' }),
    service(ns, 'server'),
    idle(ns, 'client', { node: 'node1' }),
  ];
  before(() => cluster.apply(...objects));
  after(() => cluster.remove(...objects));

  it('carries a connection from a pod of one node to a Service of the other by name, source address kept', async () => {
    const [server] = await cluster.readyPods(ns, 'app=server');
    const [client] = await cluster.readyPods(ns, 'app=client');
    assert.ok(server && client);
    assert.equal(server.spec.nodeName, 'node2');
    let said = '';
    // A ready pod may not be in every node's tables yet.
    await cluster.until('the Service answers', async () => {
      said = await cluster.inPod(
        client,
        script('mesh/app/client.mjs', 'listen', `server.${ns}`, '7000', '1000'),
      );
      return said.includes('HELLO');
    });
    assert.ok(said.includes(`${client.status.podIP}:`), `the server saw ${said}`);
  });

  it('has nodes with namespaces, cgroup roots and BPF file systems of their own', async () => {
    assert.equal(cluster.nodes.length, 2);
    const own = ['net', 'mnt', 'pid', 'uts', 'ipc', 'cgroup'];
    for (const kind of own) {
      const seen = ['self', ...cluster.nodes.map(({ init }) => String(init))].map((pid) =>
        readlinkSync(`/proc/${pid}/ns/${kind}`),
      );
      assert.equal(new Set(seen).size, 3, kind);
    }
    for (const { name } of cluster.nodes) {
      const groups = await cluster.onNode(name, ['cat', '/proc/1/cgroup']);
      assert.match(groups, /^0::\/(?:init)?$/m, 'of cgroup v2 it sees its own group as the root');
      assert.doesNotMatch(
        await cluster.onNode(name, ['ls', '/sys/fs/bpf']),
        /loam/,
        "this machine's pins are not its own",
      );
      const mounts = await cluster.onNode(name, ['cat', '/proc/self/mounts']);
      assert.match(mounts, / cgroup2 /);
    }
  });

  it('has a runtime that speaks NRI', async () => {
    for (const { name } of cluster.nodes)
      assert.match(await cluster.onNode(name, ['ls', '/run/nri']), /nri\.sock/);
  });

  it('starts a program of the control plane again that was killed', async () => {
    const before = cluster.processId('kube-scheduler');
    process.kill(before, 'SIGKILL');
    await cluster.until('the scheduler runs again', () => cluster.processId('kube-scheduler') !== before);
  });
});
