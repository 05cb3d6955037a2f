import assert from 'node:assert/strict';
import { setTimeout as sleep } from 'node:timers/promises';
import { idle, namespace } from '../support/apps.ts';
import { TestCluster, type TestPod } from '../support/cluster.ts';
import { AMBIENT, installed, MODE } from '../support/installation.ts';
import { echo, Load, type LoadCounts } from '../support/load.ts';
import { inMesh } from '../support/node-agent.ts';

/** Some fifty new connections a second beside a hundred streams that stay open. */
const LOAD = { streams: 100, workers: 4, pauseMs: 60 };
const ROUNDS = 3;
/** Before and after a label, so that what is there from before and what comes after is under way. */
const SETTLE_MS = 2_000;

describe('a label under load', function () {
  this.timeout(600_000);
  const cluster = TestCluster.open();
  const ns = 'labels';
  const objects = [namespace(ns), ...echo(ns, 'echo', 'node2'), idle(ns, 'client', { node: 'node1' })];
  const figures: Record<string, { made: number; failed: number; streams: number; cut: number }> = {};
  let client: TestPod;
  let server: TestPod;

  before(async () => {
    await installed(cluster);
    await cluster.apply(...objects);
    [client, server] = [await one('client'), await one('echo')];
  });
  after(async () => {
    console.table(figures);
    await cluster.remove(...objects);
  });

  async function one(app: string): Promise<TestPod> {
    const [pod] = await cluster.readyPods(ns, `app=${app}`);
    assert.ok(pod);
    return pod;
  }

  /** Sets or takes the label while the load runs. @returns what the load counted */
  async function labelled(mode: 'ambient' | null, name: string): Promise<LoadCounts> {
    const load = await Load.start(cluster, client, `echo.${ns}`, LOAD);
    await sleep(SETTLE_MS);
    await cluster.label(namespace(ns), mode === null ? { [MODE]: null } : AMBIENT);
    for (const pod of [client, server])
      await cluster.until(
        `${pod.metadata.name} is ${mode === null ? 'outside of' : 'in'} the mesh`,
        async () => {
          const state = (await inMesh(cluster, pod))?.state;
          return mode === null ? state === undefined : state === 'verified';
        },
      );
    await sleep(SETTLE_MS);
    const counts = await load.stop();
    const { made, failed, streams, cut } = counts;
    figures[name] = { made, failed, streams, cut };
    return counts;
  }

  for (let round = 1; round <= ROUNDS; round += 1) {
    it(`cuts no stream and fails no new connection when it is set (${round})`, async () => {
      isWhole(await labelled('ambient', `set ${round}`));
    });

    it(`cuts no stream and fails no new connection when it is taken away (${round})`, async () => {
      isWhole(await labelled(null, `taken ${round}`));
    });
  }
});

function isWhole({ failed, cut, failures, cuts }: LoadCounts): void {
  assert.deepEqual({ failed, cut, failures, cuts }, { failed: 0, cut: 0, failures: {}, cuts: [] });
}
