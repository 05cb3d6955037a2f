import { dirname, join } from 'node:path';
import { parseArgs } from 'node:util';
import { runClusterRing } from '../../cli/test-rings/cluster/ring.ts';
import { errorText } from '../../lib/loam-error.ts';
import { namespace } from '../../test/cluster/support/apps.ts';
import { TestCluster } from '../../test/cluster/support/cluster.ts';
import { AMBIENT, installed } from '../../test/cluster/support/installation.ts';
import { deny } from './deny.ts';
import { idle } from './idle.ts';
import { kill, noController, rollOut } from './kills.ts';
import { label } from './label.ts';
import { podStart } from './pod-start.ts';
import { NAMESPACE, objects } from './scene.ts';

/**
 * The experiments of docs/beside-istio.md, in a Kubernetes cluster of two nodes that is made for them, or in the one of
 * LOAM_TEST_CLUSTER.
 *
 *   ./loam bench cluster [--only label,start,rollout,kill,away,deny,idle] [--rounds 4]
 */
const { values } = parseArgs({
  options: {
    only: { type: 'string', default: 'label,start,rollout,kill,away,deny,idle' },
    rounds: { type: 'string', default: '4' },
  },
});
const rounds = Number(values.rounds);
const say = (text: string): void => console.log(text);

/** What each name does. */
const EXPERIMENTS: Readonly<Record<string, (cluster: TestCluster, logs: string) => Promise<void>>> = {
  label: (cluster) => label(cluster, rounds, say),
  start: (cluster, logs) => podStart(cluster, 2 * rounds, logs, say),
  rollout: (cluster) => rollOut(cluster, 40_000, say),
  kill: async (cluster) => {
    await kill(cluster, 'ztunnel', 'node1', false, say);
    await kill(cluster, 'ztunnel', 'node2', false, say);
    await kill(cluster, 'agent', 'node1', true, say);
    await kill(cluster, 'controller', undefined, true, say);
  },
  away: (cluster) => noController(cluster, say),
  deny: (cluster) => deny(cluster, Math.max(1, rounds - 1), say),
  idle: (cluster) => idle(cluster, 45, say),
};

async function run(told: string): Promise<{ passed: number; failed: number }> {
  process.env['LOAM_TEST_CLUSTER'] = told;
  const cluster = TestCluster.open();
  const logs = join(dirname(told), 'log');
  await installed(cluster);
  await cluster.apply(...objects());
  let failed = 0;
  try {
    for (const name of values.only.split(',')) {
      const experiment = EXPERIMENTS[name];
      if (experiment === undefined)
        throw new Error(`--only ${name}: allowed are ${Object.keys(EXPERIMENTS).join(', ')}`);
      if (name !== 'label') await cluster.label(namespace(NAMESPACE), AMBIENT);
      await experiment(cluster, logs).catch((error: unknown) => {
        failed += 1;
        say(`${name}: ${errorText(error)}`);
      });
    }
  } finally {
    await cluster.remove(...objects());
  }
  return { passed: 0, failed };
}

const given = process.env['LOAM_TEST_CLUSTER'];
const { failed } =
  given === undefined
    ? await runClusterRing(({ LOAM_TEST_CLUSTER: told = '' }) => run(told))
    : await run(given);
process.exit(failed === 0 ? 0 : 1);
