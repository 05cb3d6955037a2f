import type { Addresses } from './addresses.ts';
import { ask } from './http.ts';
import { LogFile } from './log-file.ts';
import { ManagedProcess, type ProcessState } from './managed-process.ts';
import { WAYPOINT_READY_PORT } from './programs.ts';
import type { ProcessRecords } from './process-record.ts';

/** How often one that is not ready is asked whether it is, and one that is whether it still is. */
const POLL_STARTING_MS = 200;
const POLL_READY_MS = 1_000;

export interface WaypointOptions {
  /** `namespace/name` of its Gateway. */
  readonly gateway: string;
  /** Which of its Gateway's replicas it is, from 0. */
  readonly slot: number;
  /** Number that no other instance of its Gateway has at the same time; names its namespace and its log. */
  readonly index: number;
  /** Its name: `waypoint-0`. */
  readonly instance: string;
  readonly node: string;
  readonly addresses: Addresses;
  /** Name of its network namespace, which exists already. */
  readonly netns: string;
  readonly command: readonly [string, ...string[]];
  readonly logPath: string;
  readonly env: NodeJS.ProcessEnv;
  readonly records: ProcessRecords;
  /** Called when it becomes ready, or is not any more, and whenever its process starts or ends. */
  readonly onChange: () => void;
}

/** One instance of a waypoint: its process and whether it is ready. Its place and addresses stay through restarts. */
export class Waypoint {
  readonly gateway: string;
  readonly slot: number;
  readonly index: number;
  readonly instance: string;
  readonly node: string;
  readonly addresses: Addresses;
  readonly netns: string;
  readonly #options: WaypointOptions;
  readonly #process: ManagedProcess;
  readonly #log: LogFile;
  #ready = false;
  #timer: NodeJS.Timeout | undefined;
  #stopped = false;

  constructor(options: WaypointOptions) {
    this.#options = options;
    this.gateway = options.gateway;
    this.slot = options.slot;
    this.index = options.index;
    this.instance = options.instance;
    this.node = options.node;
    this.addresses = options.addresses;
    this.netns = options.netns;
    this.#log = new LogFile(options.logPath);
    const { command, env, records } = options;
    this.#process = new ManagedProcess({
      name: `waypoint ${this.gateway}`,
      launch: () => ({ command, env, cwd: '/' }),
      log: this.#log,
      records,
      // What a process that just started or ended has said of itself before counts no more.
      onChange: () => this.#set(false, true),
    });
  }

  get state(): ProcessState {
    return this.#process.state;
  }

  /** Whether its `/healthz/ready` answered with 200 when it was asked last. */
  get ready(): boolean {
    return this.#ready;
  }

  start(): void {
    this.#process.start();
    this.#schedule();
  }

  /**
   * Ends it: SIGTERM, so that it can end what it serves, and SIGKILL after the grace.
   *
   * @param againMs see ManagedProcess.stop
   */
  async stop(graceMs: number, againMs?: number): Promise<void> {
    this.#stopped = true;
    clearTimeout(this.#timer);
    this.#ready = false;
    await this.#process.stop(graceMs, againMs);
    this.#log.close();
  }

  #schedule(): void {
    if (this.#stopped) return;
    this.#timer = setTimeout(() => void this.#poll(), this.#ready ? POLL_READY_MS : POLL_STARTING_MS);
  }

  async #poll(): Promise<void> {
    const { state } = this;
    if (state.state === 'running') {
      const ready = await this.#askReady();
      // An answer that was overtaken by the end of its process says nothing of the next one.
      if (this.state === state) this.#set(ready, false);
    }
    this.#schedule();
  }

  async #askReady(): Promise<boolean> {
    try {
      return (await ask({ netns: this.netns, port: WAYPOINT_READY_PORT }, '/healthz/ready')).status === 200;
    } catch {
      // It does not listen (any more); the next round asks again.
      return false;
    }
  }

  #set(ready: boolean, tell: boolean): void {
    if (this.#stopped) return;
    const changed = ready !== this.#ready;
    this.#ready = ready;
    if (changed || tell) this.#options.onChange();
  }
}
