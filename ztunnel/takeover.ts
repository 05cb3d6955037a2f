import { errorText } from '../lib/loam-error.ts';
import type { AdminPorts } from './admin/ports.ts';
import type { HeldStateKeeper } from './held-state/keeper.ts';
import type { ReceivedState } from './held-state/received.ts';
import type { Log } from './proxy/mesh.ts';

/** When this process started, by the machine's monotonic clock in nanoseconds: by it the agent knows the youngest. */
export const STARTED_NS = process.hrtime.bigint() - BigInt(Math.round(process.uptime() * 1e9));

/** How often it is looked whether all is there to take over. */
const READY_POLL_MS = 100;

export interface TakeoverOptions {
  /** Switches accepting on or off, in the connection worker. */
  accept(accepting: boolean): Promise<unknown>;
  readonly ports: AdminPorts;
  /** Why it cannot take over yet; undefined: it can. */
  missing(): string | undefined;
  /** Once: it could take over now. */
  onReady(): void;
  /** What an earlier ztunnel left with the agent. */
  readonly received: Pick<ReceivedState, 'take'>;
  /** What this one leaves. */
  readonly keeper: Pick<HeldStateKeeper, 'setActive'>;
  readonly log: Log;
}

/**
 * Whether this ztunnel accepts the node's connections, which the agent says: nothing at first, so that one that fails
 * while it gets ready costs no connection; and no more once a younger one does, so that none is lost between the two.
 */
export class Takeover {
  readonly #options: TakeoverOptions;
  #state: 'waiting' | 'serving' | 'yielded' | 'leaving' = 'waiting';
  #ready = false;
  /** As of the last look. */
  #missing = 'starting';
  #timer: NodeJS.Timeout | undefined;

  constructor(options: TakeoverOptions) {
    this.#options = options;
  }

  get serving(): boolean {
    return this.#state === 'serving';
  }

  get leaving(): boolean {
    return this.#state === 'leaving';
  }

  /** It could take over; stays so. */
  get ready(): boolean {
    return this.#ready;
  }

  /** For readiness: what it waits for. */
  get reason(): string {
    switch (this.#state) {
      case 'waiting':
        return this.#ready
          ? 'waiting for the agent to let it take over'
          : `accepts nothing yet: ${this.#missing}`;
      case 'serving':
        return 'accepts connections';
      case 'yielded':
        return 'another ztunnel of the node took over; serves what is open';
      case 'leaving':
        return 'asked to end';
    }
  }

  /** Begins to look whether it is ready. */
  start(): void {
    this.#timer = setInterval(() => {
      const missing = this.#options.missing();
      this.#missing = missing ?? '';
      if (missing !== undefined) return;
      this.#ready = true;
      clearInterval(this.#timer);
      this.#options.log.info('ready to take over');
      this.#options.onReady();
    }, READY_POLL_MS).unref();
  }

  /** The agent says so. @throws Error when a port or listener cannot be opened; it then does not serve */
  async serve(): Promise<void> {
    if (this.serving || this.leaving) return;
    try {
      await this.#options.ports.open();
      await this.#options.accept(true);
    } catch (error) {
      this.#options.log.error('cannot take over', { error: errorText(error) });
      throw error;
    }
    // The agent's word and an order to end may cross.
    if (!this.leaving) {
      this.#state = 'serving';
      this.#options.keeper.setActive(true);
    }
    this.#options.log.info('accepting connections');
  }

  /** The agent says so: another one accepts. */
  async yield(): Promise<void> {
    if (this.leaving) await this.#options.ports.close();
    if (this.#state !== 'serving') return;
    await this.#options.accept(false);
    await this.#options.ports.close();
    this.#state = 'yielded';
    this.#options.keeper.setActive(false);
    this.#options.log.info('another ztunnel took over; serving what is open');
  }

  heldState(fd: number | undefined, ageMs: number): void {
    this.#options.received.take(fd, ageMs);
  }

  /** To a new agent, all is left again. */
  live(): void {
    if (this.serving) this.#options.keeper.setActive(true);
  }

  /** It ends; the worker is drained by another way. */
  leave(): void {
    clearInterval(this.#timer);
    this.#options.keeper.setActive(false);
    this.#state = 'leaving';
  }
}
