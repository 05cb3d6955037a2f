import { setTimeout as sleep } from 'node:timers/promises';

const POLL_MS = 50;
/** An end of both programs may be seen here before the agent's: so long it has to be there. */
const SETTLED_MS = 1_000;

export interface LeavingSources {
  /** It accepts the node's connections, and nobody else does. */
  readonly serving: () => boolean;
  /** An agent is connected that has handed over the listeners of all pods. */
  readonly agentHolds: () => boolean;
  /** Pods that it knows of. */
  readonly pods: () => number;
}

/**
 * Before a ztunnel that was asked to end stops accepting: waits for an agent. What comes between this ztunnel and the next one waits at
 * listeners that the agent holds too; with none there they would end with this process, and new connections would be refused. So it serves on,
 * as an upgrade needs that replaces both at once.
 *
 * @param limitMs for so long at most: an agent that does not come must not keep it for ever
 */
export async function untilAgentHolds(sources: LeavingSources, limitMs: number): Promise<void> {
  const deadline = performance.now() + limitMs;
  let heldSince = performance.now();
  while (sources.serving() && sources.pods() > 0 && performance.now() < deadline) {
    if (!sources.agentHolds()) heldSince = performance.now();
    else if (performance.now() - heldSince >= SETTLED_MS) return;
    await sleep(POLL_MS);
  }
}
