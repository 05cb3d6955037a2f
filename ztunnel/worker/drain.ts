import { setTimeout as sleep } from 'node:timers/promises';
import type { Mesh } from '../proxy/mesh.ts';
import { ProxyError } from '../../lib/mesh/hbone/proxy-error.ts';
import type { PodSet } from './pod-set.ts';

const POLL_MS = 50;

/**
 * Graceful end (ambient-facts C11): stop accepting, GOAWAY on all tunnels, let what is open finish until the deadline,
 * then cut the rest.
 *
 * @returns how many connections had to be cut
 */
export async function drainWorker(mesh: Mesh, pods: PodSet, deadlineMs: number): Promise<number> {
  const deadline = performance.now() + deadlineMs;
  await stopAccepting(mesh, pods);
  while (mesh.registry.size > 0 && performance.now() < deadline) await sleep(POLL_MS);
  const cut = mesh.registry.size;
  mesh.registry.terminateAll(new ProxyError('DRAINED', 'cut when the time to drain was over'));
  // The resets leave, and the cut connections are counted and logged, in the next turns of the event loop.
  await sleep(POLL_MS);
  return cut;
}

/** No new connections, and none that goes on for ever only because its tunnel is shared: GOAWAY on all tunnels. */
export async function stopAccepting(mesh: Mesh, pods: PodSet): Promise<void> {
  await pods.setAccepting(false);
  mesh.pool.drain();
}
