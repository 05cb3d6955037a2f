import assert from 'node:assert/strict';
import { deployment, idle, namespace, script } from '../support/apps.ts';
import { TestCluster, type TestPod } from '../support/cluster.ts';
import { AMBIENT, installed, isInstalled, loam, SYSTEM } from '../support/installation.ts';
import { echo, Load } from '../support/load.ts';
import { inMesh } from '../support/node-agent.ts';

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
    const during = await Load.start(cluster, client, `echo.${ns}`, { streams: 0 });
    await loam(cluster, 'uninstall');
    const { made, failed, failures } = await during.stop();
    console.log(
      `      ${failed} of ${made} new connections failed while it was removed: ${JSON.stringify(failures)}`,
    );
    assert.equal(await isInstalled(cluster), false);
    const load = await Load.start(cluster, client, `echo.${ns}`);
    await load.stopWhole();
    for (const { name } of cluster.nodes) {
      assert.doesNotMatch(await cluster.onNode(name, ['ls', '/sys/fs/bpf']), /loam/, name);
      assert.doesNotMatch(await cluster.onNode(name, ['ls', '/run/loam']), /sock/, name);
    }
  });
});
