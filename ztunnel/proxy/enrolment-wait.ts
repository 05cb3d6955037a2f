import type { Duplex } from 'node:stream';
import { ProxyError } from '../../lib/mesh/hbone/proxy-error.ts';
import { waitForState } from '../../lib/mesh/state/wait.ts';
import type { Upstream } from '../../lib/mesh/outbound/upstream.ts';
import type { Pod } from './pod.ts';

/** A pod that refused is asked again so often; the pool of tunnels keeps its own pace below that. */
const AGAIN_MS = 50;

/**
 * Connects to where a connection goes. A label reaches the nodes and the control plane in no order: a pod that is in the
 * mesh by what is known here, and refuses the tunnel's port, is one that its node has not enrolled yet, or no longer. It is
 * asked again until it answers or is known to be something else, for as long as state is waited for. Nothing was sent to it, and a
 * refusal alone never makes a connection leave in plaintext: only the control plane says that.
 *
 * @param resolve where it goes, as it is known now
 * @param connect carries out one attempt
 * @throws what the last attempt failed with
 */
export async function connectEnrolled(
  pod: Pod,
  resolve: () => Promise<Upstream>,
  connect: (upstream: Upstream) => Promise<Duplex>,
): Promise<Duplex> {
  const { workloads, limits } = pod.mesh;
  const giveUpAt = performance.now() + limits.stateWaitMs;
  for (;;) {
    const upstream = await resolve();
    try {
      return await connect(upstream);
    } catch (error) {
      if (upstream.kind !== 'hbone' || !isRefused(error) || performance.now() >= giveUpAt) throw error;
    }
    const { uid } = upstream.workload;
    const isMember = (): boolean => workloads.byUid(uid)?.tunnelProtocol === 'hbone';
    await waitForState([workloads], () => (isMember() ? undefined : true), AGAIN_MS);
  }
}

function isRefused(error: unknown): boolean {
  if (!(error instanceof ProxyError) || error.code !== 'CONNECT_FAILED') return false;
  return (error.cause as NodeJS.ErrnoException | undefined)?.code === 'ECONNREFUSED';
}
