import { ownInstallation, type Installation } from './installation.ts';
import type { ManagedProcess, ProcessState } from './managed-process.ts';
import { pidOf, refusal, takenOver, type Rolled } from './takeover.ts';

export interface ReplacedOptions {
  /** Makes one, not started. */
  readonly make: (installation: Installation) => ManagedProcess;
  /** Whether it does its part. */
  readonly isReady: () => Promise<boolean>;
  /** What it waits for. */
  readonly waitsFor: () => Promise<string>;
  /** Time for the orderly end of the one that goes. */
  readonly graceMs: number;
}

/**
 * A program of which there is one at a time: replaced as a rollout of Kubernetes with maxUnavailable does it, the former
 * one away first. So an agent is, which holds the lock of its node's pins; what it enrolled stays in force meanwhile.
 */
export class ReplacedProcess {
  readonly #options: ReplacedOptions;
  #installation: Installation;
  #current: ManagedProcess;
  #upgrading = false;
  #stopped = false;

  constructor(options: ReplacedOptions) {
    this.#options = options;
    this.#installation = ownInstallation();
    this.#current = options.make(this.#installation);
  }

  get state(): ProcessState {
    return this.#current.state;
  }

  start(): void {
    this.#current.start();
  }

  async stop(graceMs: number): Promise<void> {
    this.#stopped = true;
    await this.#current.stop(graceMs);
  }

  /**
   * Replaces the process. Returns when the new one is ready.
   *
   * @throws LocalMeshError LOCAL_MESH_STATE when it ends or is not ready in time; one of the installation before is then
   *   started again
   */
  async upgrade(installation: Installation, timeoutMs: number): Promise<Rolled> {
    const { make, isReady, waitsFor, graceMs } = this.#options;
    if (this.#upgrading) throw refusal('it is being replaced already');
    this.#upgrading = true;
    try {
      const former = this.#current;
      const formerPid = pidOf(former.state);
      await former.stop(graceMs);
      const next = this.#begin(make(installation));
      try {
        const isStopped = (): boolean => this.#stopped;
        const state = (): ProcessState => next.state;
        const pid = await takenOver({ state, hasTakenOver: isReady, waitsFor, timeoutMs, isStopped });
        this.#installation = installation;
        return { formerPid, pid };
      } catch (error) {
        await next.stop(graceMs);
        this.#begin(make(this.#installation));
        throw error;
      }
    } finally {
      this.#upgrading = false;
    }
  }

  #begin(process: ManagedProcess): ManagedProcess {
    this.#current = process;
    if (!this.#stopped) process.start();
    return process;
  }
}
