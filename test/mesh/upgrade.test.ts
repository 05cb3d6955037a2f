import assert from 'node:assert/strict';
import { after, before, describe, it } from 'mocha';
import { eventually, Mesh } from './harness.ts';
import { namespaceManifest, podManifest } from './manifests.ts';
import { echoManifest, upgrade, UpgradeLoad } from './upgrade-load.ts';

const STREAMS = 5;
const LOAD = { streams: STREAMS, workers: 2, pauseMs: 30 };

describe('mesh: upgrade of ztunnel and agent', function () {
  this.timeout(240_000);
  let mesh: Mesh;
  before(async () => {
    mesh = await Mesh.up({
      'namespace.yaml': namespaceManifest(),
      'client.yaml': podManifest('client'),
      'far.yaml': echoManifest('far', 'node-b'),
      'near.yaml': echoManifest('near', 'node-a'),
    });
  });
  after(() => mesh?.down());

  const pidOf = async (program: 'ztunnel' | 'agent', node: string) => (await mesh.program(program, node)).pid;
  const replaced = async () => (await mesh.status()).report.programs.filter((each) => each.replaced === true);

  /** Runs something under load, to a pod of the other node and to one of the same. */
  async function underLoad(work: () => Promise<void>): Promise<void> {
    const loads = [
      await UpgradeLoad.start(mesh, 'client', 'far', LOAD),
      await UpgradeLoad.start(mesh, 'client', 'near', LOAD),
    ];
    try {
      await work();
    } finally {
      const results = await Promise.all(loads.map((load) => load.stop()));
      for (const result of results) {
        assert.deepEqual(
          [result.failed, result.cut, result.streams],
          [0, 0, STREAMS],
          JSON.stringify(result),
        );
        assert.ok(result.made > 10, JSON.stringify(result));
        assert.ok(result.bytes > 10_000, JSON.stringify(result));
      }
    }
  }

  it('a new ztunnel takes over under load: no connection fails, no stream is cut, and the old one ends', async () => {
    const former = [await pidOf('ztunnel', 'node-a'), await pidOf('ztunnel', 'node-b')];
    await underLoad(async () => {
      assert.match(await upgrade(mesh), /ztunnel of node-a: \d+ took over; \d+ serves what was open/);
      const now = [await pidOf('ztunnel', 'node-a'), await pidOf('ztunnel', 'node-b')];
      assert.notEqual(now[0], former[0]);
      assert.notEqual(now[1], former[1]);
      // The streams are still there, in the old ones.
      assert.equal((await replaced()).length, 2);
      await upgrade(mesh, '--node', 'node-a');
      assert.equal((await replaced()).length, 3);
    });
    await eventually('the old ones to end', async () => (await replaced()).length === 0);
    const { readiness } = await mesh.status();
    assert.ok(readiness.nodes.every(({ ztunnel }) => ztunnel.ready));
  });

  it('an agent that is replaced changes nothing for connections', async () => {
    await underLoad(async () => {
      for (const node of ['node-a', 'node-b']) {
        const before = await pidOf('agent', node);
        process.kill(before, 'SIGTERM');
        await eventually('another agent, ready', async () => {
          const { readiness, report } = await mesh.status();
          const agent = report.programs.find((each) => each.program === 'agent' && each.node === node);
          const ready = readiness.nodes.find((each) => each.node === node);
          return (
            agent?.state === 'running' && agent.pid !== before && ready?.agent.ready && ready.ztunnel.ready
          );
        });
      }
    });
  });

  it('agent and ztunnel of a node may be replaced at once', async () => {
    const before = await pidOf('agent', 'node-b');
    await underLoad(async () => {
      const upgraded = upgrade(mesh, '--node', 'node-b');
      process.kill(before, 'SIGTERM');
      await upgraded;
      assert.notEqual(await pidOf('agent', 'node-b'), before);
    });
    await eventually('the old one to end', async () => (await replaced()).length === 0);
  });

  it('names a node that is not there', async () => {
    await assert.rejects(
      upgrade(mesh, '--node', 'node-z'),
      /there is no node node-z; there is: node-a, node-b/,
    );
  });
});
