import assert from 'node:assert/strict';
import { deployment, idle, namespace, script } from '../support/apps.ts';
import { TestCluster, type TestPod } from '../support/cluster.ts';
import { AMBIENT, installed, isInstalled, loam, SYSTEM } from '../support/installation.ts';
import { echo, ECHO_PORT, Load } from '../support/load.ts';
import { inMesh } from '../support/node-agent.ts';
import type { KubeObject } from '../support/resources.ts';

/** Ends without an installation, and makes one again for the other files. */
describe('an installation under load', function () {
  this.timeout(900_000);
  const cluster = TestCluster.open();
  const ns = 'under-load';
  const objects = [
    namespace(ns, AMBIENT),
    ...echo(ns, 'echo', 'node2'),
    idle(ns, 'client', { node: 'node1' }),
  ];
  const born = deployment(ns, 'born', {
    command: script('cluster/app/first-dial.mjs', '198.19.255.254', '9', 'stay'),
    container: {},
    replicas: 2,
  });
  /** A node that is out of the mesh before another must not make calls fail that the other asks mutual TLS of. */
  const strict: KubeObject = {
    apiVersion: 'security.istio.io/v1',
    kind: 'PeerAuthentication',
    metadata: { name: 'strict', namespace: ns },
    spec: { mtls: { mode: 'STRICT' } },
  };
  let client: TestPod;

  before(async () => {
    await installed(cluster);
    await cluster.apply(...objects);
    await cluster.readyPods(ns, 'app=echo');
    const [pod] = await cluster.readyPods(ns, 'app=client');
    assert.ok(pod);
    client = pod;
  });
  after(async () => {
    await cluster.remove(...objects, born);
    await installed(cluster);
  });

  /** What becomes of a call of the server from its node's network, which is not in the mesh. */
  async function fromOutside(): Promise<string> {
    const [pod] = await cluster.readyPods(ns, 'app=echo');
    const command = ['sh', '-c', `printf hello | timeout 5 nc -N ${pod?.status.podIP} ${ECHO_PORT} || true`];
    return (await cluster.onNode('node1', command)) === 'hello' ? 'taken' : 'refused';
  }

  async function uids(): Promise<string[]> {
    return (await cluster.pods(SYSTEM))
      .filter(({ metadata }) => metadata.deletionTimestamp === undefined)
      .map(({ metadata }) => metadata.uid);
  }

  it('is upgraded: every program is replaced, no new connection fails, and pods that are born meanwhile start in the mesh', async () => {
    const before = await uids();
    const load = await Load.start(cluster, client, `echo.${ns}`, { streams: 0 });
    const upgraded = loam(cluster, 'upgrade', '--set', 'logLevel=debug');
    await cluster.apply(born);
    await upgraded;
    for (const pod of await cluster.readyPods(ns, 'app=born', 2))
      await cluster.until(
        `${pod.metadata.name} is in the mesh`,
        async () => (await inMesh(cluster, pod))?.state === 'verified',
      );
    const { made } = await load.stopWhole();
    console.log(`      ${made} new connections, none failed`);
    const after = await uids();
    assert.ok(before.length > 0 && after.length >= before.length);
    for (const uid of before) assert.ok(!after.includes(uid), 'the upgrade replaced every pod');
  });

  it('is removed: every pod has plain networking again, and nothing of it is left in any kernel', async () => {
    await cluster.apply(strict);
    await cluster.until('plaintext is refused', async () => (await fromOutside()) === 'refused');
    const during = await Load.start(cluster, client, `echo.${ns}`, { streams: 0 });
    // What is open for long ends with its ztunnel, and does not keep it.
    const open = await Load.start(cluster, client, `echo.${ns}`, { streams: 3, workers: 0 });
    await loam(cluster, 'uninstall');
    assert.equal((await open.stop()).cut, 3);
    const { made } = await during.stopWhole();
    console.log(`      ${made} new connections, none failed`);
    assert.equal(await isInstalled(cluster), false);
    assert.equal(await fromOutside(), 'taken');
    const load = await Load.start(cluster, client, `echo.${ns}`, { connections: 50 });
    await load.enough();
    await load.stopWhole();
    for (const { name } of cluster.nodes) {
      assert.doesNotMatch(await cluster.onNode(name, ['ls', '/sys/fs/bpf']), /loam/, name);
      assert.doesNotMatch(await cluster.onNode(name, ['ls', '/run/loam']), /sock/, name);
    }
  });
});
