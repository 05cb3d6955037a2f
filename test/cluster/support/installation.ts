/** Loam in the test cluster, by its own command line. */
import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { hasStatus } from '../../../lib/kubernetes/errors.ts';
import { packageRoot } from '../../../lib/package-root.ts';
import type { TestCluster } from './cluster.ts';

export const SYSTEM = 'loam-system';
export const MODE = 'loam.dev/dataplane-mode';
export const AMBIENT = { [MODE]: 'ambient' };
const TIMEOUT_S = 300;

/** Runs `loam` with the cluster's kubeconfig. @returns what it prints @throws with all that it said */
export async function loam(cluster: TestCluster, ...args: readonly string[]): Promise<string> {
  const main = join(packageRoot(), 'dist', 'cli', 'main.js');
  const { stdout } = await promisify(execFile)(process.execPath, [main, ...args], {
    env: { ...process.env, KUBECONFIG: cluster.kubeconfig },
    maxBuffer: 32 << 20,
  });
  return stdout;
}

/** Installs Loam unless it is there: one installation serves all files of the ring that leave it as it is. */
export async function installed(cluster: TestCluster): Promise<void> {
  if (await isInstalled(cluster)) return;
  await loam(cluster, 'install', '--timeout', String(TIMEOUT_S));
}

/**
 * Ends the controllers of the installation, if there is one: two that do not know of each other undo each other's work.
 *
 * @returns starts them again
 */
export async function withoutControllers(cluster: TestCluster): Promise<() => Promise<void>> {
  if (!(await isInstalled(cluster))) return () => Promise.resolve();
  const path = `/apis/apps/v1/namespaces/${SYSTEM}/deployments/loam-controller/scale`;
  const name = 'app.kubernetes.io/name=loam-controller';
  const { spec } = await cluster.client.get<{ spec: { replicas: number } }>(path);
  const scale = (replicas: number): Promise<unknown> =>
    cluster.client.patch(path, { spec: { replicas } }, 'application/merge-patch+json');
  await scale(0);
  await cluster.until(
    'the controllers are gone',
    async () => (await cluster.pods(SYSTEM, name)).length === 0,
  );
  return async () => {
    await scale(spec.replicas);
    await cluster.readyPods(SYSTEM, name, spec.replicas);
  };
}

export function isInstalled(cluster: TestCluster): Promise<boolean> {
  return cluster.client.get(`/apis/apps/v1/namespaces/${SYSTEM}/daemonsets/loam-agent`).then(
    () => true,
    (error: unknown) => {
      if (hasStatus(error, 404)) return false;
      throw error;
    },
  );
}
