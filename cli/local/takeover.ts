import { setTimeout as sleep } from 'node:timers/promises';
import { LocalMeshError } from './errors.ts';
import type { ProcessState } from './managed-process.ts';

const POLL_MS = 100;

/** What a replacement did. */
export interface Rolled {
  readonly formerPid: number | undefined;
  readonly pid: number;
}

export interface Takeover {
  readonly state: () => ProcessState;
  /** Whether the process with this pid does what the former one did. */
  readonly hasTakenOver: (pid: number) => Promise<boolean>;
  /** Why it does not, for the message when it does not in time. */
  readonly waitsFor: (pid: number) => Promise<string>;
  readonly timeoutMs: number;
  /** The mesh goes down. */
  readonly isStopped: () => boolean;
}

/**
 * Waits until a new process has taken over.
 *
 * @returns its pid
 * @throws LocalMeshError LOCAL_MESH_STATE when it ends, or does not take over in time
 */
export async function takenOver(takeover: Takeover): Promise<number> {
  const { hasTakenOver, waitsFor, timeoutMs, isStopped } = takeover;
  const deadline = Date.now() + timeoutMs;
  let first: number | undefined;
  for (;;) {
    const state = takeover.state();
    if (state.state === 'waiting') throw refusal(`the new one ended: ${state.lastEnd}`);
    const pid = pidOf(state);
    first ??= pid;
    // It may have ended, and another been started, between two looks.
    if (state.state === 'running' && pid !== first)
      throw refusal(`the new one ended: ${state.lastEnd ?? 'for no known reason'}`);
    if (isStopped() || pid === undefined) throw refusal('it is taken down');
    if (await hasTakenOver(pid).catch(() => false)) return pid;
    if (Date.now() > deadline) {
      const why = await waitsFor(pid).catch(() => 'it does not say why');
      throw refusal(`the new one did not take over in time: ${why}`);
    }
    await sleep(POLL_MS);
  }
}

export function pidOf(state: ProcessState): number | undefined {
  return state.state === 'running' ? state.pid : undefined;
}

export function refusal(why: string): LocalMeshError {
  return new LocalMeshError('LOCAL_MESH_STATE', why);
}
