import { ownInstallation, type Installation } from './installation.ts';
import type { ManagedProcess, ProcessState } from './managed-process.ts';
import { pidOf, refusal, takenOver, type Rolled } from './takeover.ts';

/** Processes that were replaced and still serve what was open then: each takes the memory of a whole program. */
const MAX_ENDING = 6;

export interface RollingOptions {
  /** Makes one, not started. */
  readonly make: (installation: Installation) => ManagedProcess;
  /** Whether the process with this pid has taken over. */
  readonly hasTakenOver: (pid: number) => Promise<boolean>;
  /** Why it has not, for the message when it does not in time. */
  readonly waitsFor: (pid: number) => Promise<string>;
  /** How long one that is told to end may serve what is open. */
  readonly graceMs: number;
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
    this.#current = options.make(ownInstallation());
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
  async upgrade(installation: Installation, timeoutMs: number): Promise<Rolled> {
    const { make, graceMs, hasTakenOver, waitsFor } = this.#options;
    if (this.#upgrading) throw refusal('it is being replaced already');
    if (this.#ending.size >= MAX_ENDING)
      throw refusal(
        `${this.#ending.size} former ones still serve what was open; the next may begin when one has ended`,
      );
    this.#upgrading = true;
    const next = make(installation);
    next.start();
    try {
      const isStopped = (): boolean => this.#stopped;
      const pid = await takenOver({
        ...{ state: () => next.state, hasTakenOver, waitsFor, timeoutMs, isStopped },
      });
      const former = this.#current;
      const formerPid = pidOf(former.state);
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
}
