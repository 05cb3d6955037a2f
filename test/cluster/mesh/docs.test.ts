import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { packageRoot } from '../../../lib/package-root.ts';
import { stepsOf, type RunnableStep } from '../../support/runnable-page.ts';
import { deployment, namespace, service } from '../support/apps.ts';
import { TestCluster } from '../support/cluster.ts';
import { installed, isInstalled, loam } from '../support/installation.ts';
import { MAIN, type Said } from '../support/look.ts';

const NS = 'shop';
/** As somebody would who tries Loam in a cluster: into the mesh, a look at it, out again. */
const PAGES = ['install', 'look', 'observe', 'uninstall'];

describe('the commands of the documentation, in a cluster', function () {
  this.timeout(600_000);
  const cluster = TestCluster.open();
  const objects = [
    namespace(NS),
    ...['frontend', 'payments'].flatMap((name) => [deployment(NS, name), service(NS, name)]),
  ];

  before(async () => {
    if (await isInstalled(cluster)) await loam(cluster, 'uninstall', '--grace', '0');
    await cluster.apply(...objects);
    for (const app of ['frontend', 'payments']) await cluster.readyPods(NS, `app=${app}`);
  });
  after(async () => {
    await cluster.remove(...objects);
    // Whatever comes after wants it.
    await installed(cluster);
  });

  /** As a user's shell has them: `./loam` of this tree, the cluster's `kubectl`, and the cluster as the one that is meant. */
  function run({ script }: RunnableStep): Promise<Said> {
    const prelude = `set -e
      loam() { "$NODE" "$MAIN" "$@"; }
      kubectl() { "$KUBECTL" "$@"; }
    `;
    const { kubeconfig: KUBECONFIG } = cluster;
    const env = { ...process.env, KUBECONFIG, NODE: process.execPath, MAIN };
    return new Promise((resolve) =>
      execFile(
        'bash',
        ['-c', prelude + script.replaceAll('./loam ', 'loam ')],
        {
          cwd: packageRoot(),
          env: { ...env, KUBECTL: cluster.program('kubectl') },
          maxBuffer: 32 << 20,
        },
        (error, out, err) => resolve({ code: typeof error?.code === 'number' ? error.code : 0, out, err }),
      ),
    );
  }

  const steps = PAGES.flatMap((page) => stepsOf(`tasks/${page}.md`));
  assert.ok(steps.length >= 8, `${steps.length} commands`);
  for (const step of steps)
    it(`${step.page}:${step.line} does what the page says`, async () => {
      const attempt = async (): Promise<boolean> => {
        const { code, out, err } = await run(step);
        assert.equal(code, 0, out + err);
        for (const line of step.expected) assert.ok(out.includes(line), `no ${line} in:\n${out}${err}`);
        return true;
      };
      if (step.until) await cluster.until(step.script, attempt);
      else await attempt();
    });
});
