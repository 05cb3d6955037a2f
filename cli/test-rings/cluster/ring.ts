/**
 * The ring `cluster`: makes a Kubernetes cluster of two nodes on this machine, with Loam's image on both, runs the tests of
 * test/cluster in it, and removes it.
 */
import { mkdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { errorText } from '../../../lib/loam-error.ts';
import { takeLock } from '../../local/lock.ts';
import type { Tally } from '../tally.ts';
import { Cluster, removeCluster } from './cluster.ts';
import { ClusterError } from './errors.ts';
import { loamImage, ownImages } from './images.ts';
import { cacheFolder, clusterPlan } from './plan.ts';
import { buildPrograms } from './programs.ts';

/** Names one of several clusters on a machine, for who works on two things at once. */
const NAME = process.env['LOAM_CLUSTER_NAME'] ?? 'test';
/** Anything: the cluster stays after its tests, until Ctrl-C, to be looked into. */
const KEEP = process.env['LOAM_CLUSTER_KEEP'] !== undefined;

const say = (text: string): void => console.log(`    ${text}`);

/** Runs tests with what it is given in their environment. */
export type ClusterTests = (env: Readonly<Record<string, string>>) => Promise<Tally>;

/**
 * Runs tests in a cluster that is made for them.
 *
 * @param moreImages makes archives of images that the nodes are to have beside the cluster's and Loam's
 */
export async function runClusterRing(
  tests: ClusterTests,
  moreImages: () => Promise<readonly string[]> = () => Promise.resolve([]),
): Promise<Tally> {
  try {
    return await withCluster(tests, moreImages);
  } catch (error) {
    console.log(`    ✗ ${errorText(error)}`);
    return { passed: 0, failed: 1 };
  }
}

async function withCluster(
  tests: ClusterTests,
  moreImages: () => Promise<readonly string[]>,
): Promise<Tally> {
  if (!/^[a-z0-9]{1,8}$/.test(NAME))
    throw new ClusterError(
      'CLUSTER_STATE',
      `LOAM_CLUSTER_NAME ${JSON.stringify(NAME)}: allowed are 1 to 8 lower-case letters and digits`,
    );
  const plan = clusterPlan(NAME);
  mkdirSync(cacheFolder(), { recursive: true });
  using lock = await takeLock(plan.lock);
  if (lock === undefined)
    throw new ClusterError('CLUSTER_STATE', `a cluster ${NAME} is running; LOAM_CLUSTER_NAME names another`);
  // What a killed run left.
  await removeCluster(plan);

  const programs = await buildPrograms(cacheFolder(), say);
  const image = join(plan.dir, 'image');
  const first = await ownImages(programs);
  const then = [await loamImage(image), ...(await moreImages())];
  rmSync(join(image, 'layout'), { recursive: true });

  const cluster = new Cluster(plan, programs, say);
  const stop = new AbortController();
  const onSignal = (): void => stop.abort();
  process.on('SIGINT', onSignal).on('SIGTERM', onSignal);
  const interrupted = new Promise<never>((_, reject) =>
    stop.signal.addEventListener('abort', () => reject(new ClusterError('CLUSTER_STATE', 'interrupted'))),
  );
  interrupted.catch(() => undefined);
  try {
    await Promise.race([cluster.up({ first, then }), interrupted]);
    const tally = await Promise.race([tests({ LOAM_TEST_CLUSTER: plan.told }), interrupted]);
    if (KEEP && !stop.signal.aborted) {
      say(`kept until Ctrl-C: KUBECONFIG=${plan.told}/kubeconfig LOAM_TEST_CLUSTER=${plan.told}`);
      await interrupted.catch(() => undefined);
    }
    return tally;
  } finally {
    const left = await cluster.down();
    for (const one of left) say(`✗ could not be removed: ${one}`);
    process.off('SIGINT', onSignal).off('SIGTERM', onSignal);
  }
}
