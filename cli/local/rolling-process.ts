import { setTimeout as sleep } from 'node:timers/promises';
import { LocalMeshError } from './errors.ts';
import type { ManagedProcess, ProcessState } from './managed-process.ts';

const POLL_MS = 100;
/** Processes that were replaced and still serve what was open then: each takes the memory of a whole program. */
const MAX_ENDING = 6;

export interface RollingOptions {
  /** Makes one, not started. */
  readonly make: () => ManagedProcess;
  /** Whether the process with this pid has taken over. */
  readonly hasTakenOver: (pid: number) => Promise<boolean>;
  /** Why it has not, for the message when it does not in time. */
  readonly waitsFor: (pid: number) => Promise<string>;
  /** How long one that is told to end may serve what is open. */
  readonly graceMs: number;
}

/** What an upgrade did. */
export interface Rolled {
  readonly formerPid: number | undefined;
  readonly pid: number;
}

/**
 * A program that is replaced as a rollout of Kubernetes with maxSurge does it: the new process starts beside the old
 * one, which is told to end only when the new one has taken over, and may finish what it serves.
 */
export class RollingProcess {
  readonly #options: RollingOptions;
  #current: ManagedProcess;
  readonly #ending = new Set<ManagedProcess>();
  #upgrading = false;
  #stopped = false;

  constructor(options: RollingOptions) {
    this.#options = options;
    this.#current = options.make();
  }

  get state(): ProcessState {
    return this.#current.state;
  }

  /** Those that were replaced and still serve what was open then. */
  get ending(): readonly ProcessState[] {
    return [...this.#ending].map(({ state }) => state);
  }

  start(): void {
    this.#current.start();
  }

  /** Ends all: SIGTERM, and SIGKILL after the grace (at once when it is 0). */
  async stop(graceMs: number): Promise<void> {
    this.#stopped = true;
    await Promise.all([this.#current, ...this.#ending].map((each) => each.stop(graceMs)));
  }

  /**
   * Replaces the process. Returns when the new one has taken over; the old one goes on with what is open.
   *
   * @throws LocalMeshError LOCAL_MESH_STATE when the new one ends or does not take over in time; it is then removed,
   *   and the old one serves as before
   */
  async upgrade(timeoutMs: number): Promise<Rolled> {
    const { make, graceMs } = this.#options;
    if (this.#upgrading) throw refusal('it is being replaced already');
    if (this.#ending.size >= MAX_ENDING)
      throw refusal(
        `${this.#ending.size} former ones still serve what was open; the next may begin when one has ended`,
      );
    this.#upgrading = true;
    const next = make();
    next.start();
    try {
      const pid = await this.#untilTakenOver(next, Date.now() + timeoutMs);
      const former = this.#current;
      const formerPid = pidOf(former);
      this.#current = next;
      this.#ending.add(former);
      void former.stop(graceMs).finally(() => this.#ending.delete(former));
      return { formerPid, pid };
    } catch (error) {
      await next.stop(0);
      throw error;
    } finally {
      this.#upgrading = false;
    }
  }

  async #untilTakenOver(next: ManagedProcess, deadline: number): Promise<number> {
    for (;;) {
      const { state } = next;
      if (state.state === 'waiting') throw refusal(`the new one ended: ${state.lastEnd}`);
      const pid = pidOf(next);
      if (this.#stopped || pid === undefined) throw refusal('the mesh goes down');
      if (await this.#options.hasTakenOver(pid).catch(() => false)) return pid;
      if (Date.now() > deadline) {
        const why = await this.#options.waitsFor(pid).catch(() => 'it does not say why');
        throw refusal(`the new one did not take over in time: ${why}`);
      }
      await sleep(POLL_MS);
    }
  }
}

function pidOf({ state }: ManagedProcess): number | undefined {
  return state.state === 'running' ? state.pid : undefined;
}

function refusal(why: string): LocalMeshError {
  return new LocalMeshError('LOCAL_MESH_STATE', why);
}
