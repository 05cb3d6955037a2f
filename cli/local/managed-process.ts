import { spawn, type ChildProcess } from 'node:child_process';
import { Backoff } from '../../lib/backoff.ts';
import type { LogFile } from './log-file.ts';
import type { ProcessRecords } from './process-record.ts';

/** The first restart is quick: a crash under load should be a hiccup. */
const RESTART_INITIAL_MS = 100;
const RESTART_MAX_MS = 5_000;
/** A process that ran this long starts anew with the first wait. */
const STABLE_AFTER_MS = 10_000;

/** What to run. Recomputed at each start, so that a restart sees changed facts (a pod's new init, say). */
export interface Launch {
  readonly command: readonly [string, ...string[]];
  readonly env: NodeJS.ProcessEnv;
  readonly cwd?: string;
}

export interface ManagedProcessOptions {
  readonly name: string;
  readonly launch: () => Launch;
  readonly log: LogFile;
  readonly records: ProcessRecords;
  /** Called after each start and each end. */
  readonly onChange: () => void;
}

/** What is true of a managed process at this moment. */
export type ProcessState =
  | {
      readonly state: 'running';
      readonly pid: number;
      readonly since: number;
      readonly restarts: number;
      /** How the one before ended, where it did. */
      readonly lastEnd?: string;
    }
  | { readonly state: 'waiting'; readonly restarts: number; readonly lastEnd: string }
  | { readonly state: 'stopped' };

/**
 * A child that is started again whenever it ends, until it is stopped. It dies with this process, whatever the
 * reason (PDEATHSIG), has its output in a log file, and is recorded for whoever cleans up after a crash.
 */
export class ManagedProcess {
  readonly name: string;
  readonly #options: ManagedProcessOptions;
  readonly #backoff = new Backoff({ initialMs: RESTART_INITIAL_MS, maxMs: RESTART_MAX_MS });
  #child: ChildProcess | undefined;
  #state: ProcessState = { state: 'stopped' };
  #restarts = 0;
  #lastEnd: string | undefined;
  #wanted = false;
  #timer: NodeJS.Timeout | undefined;

  constructor(options: ManagedProcessOptions) {
    this.name = options.name;
    this.#options = options;
  }

  get state(): ProcessState {
    return this.#state;
  }

  start(): void {
    if (this.#wanted) return;
    this.#wanted = true;
    this.#spawn();
  }

  /**
   * Ends the process and keeps it ended: SIGTERM, and SIGKILL after the grace (at once when it is 0).
   *
   * @param againMs a second SIGTERM after so long, for a program that then cuts what it still serves
   */
  async stop(graceMs: number, againMs?: number): Promise<void> {
    this.#wanted = false;
    clearTimeout(this.#timer);
    const child = this.#child;
    if (!child) {
      this.#state = { state: 'stopped' };
      return;
    }
    const ended = new Promise<void>((resolve) => child.once('exit', () => resolve()));
    const timer = setTimeout(() => child.kill('SIGKILL'), graceMs);
    if (graceMs > 0) child.kill('SIGTERM');
    const again = againMs === undefined ? undefined : setTimeout(() => child.kill('SIGTERM'), againMs);
    await ended;
    clearTimeout(timer);
    clearTimeout(again);
  }

  #spawn(): void {
    const { command, env, cwd } = this.#options.launch();
    const started = Date.now();
    // detached: a session of its own, so that a Ctrl-C at the terminal reaches only whom it is meant for.
    const child = spawn('setpriv', ['--pdeathsig', 'KILL', '--', ...command], {
      env,
      ...(cwd === undefined ? {} : { cwd }),
      stdio: ['ignore', 'pipe', 'pipe'],
      detached: true,
    });
    this.#child = child;
    const { log, records } = this.#options;
    for (const stream of [child.stdout, child.stderr]) {
      stream.on('error', () => undefined);
      stream.on('data', (chunk: Buffer) => log.write(chunk));
    }
    let over = false;
    const end = (how: string): void => {
      if (over) return;
      over = true;
      if (child.pid !== undefined) records.remove(child.pid);
      this.#ended(how, Date.now() - started);
    };
    child.on('error', (error) => end(error.message));
    child.on('exit', (code, signal) => end(signal === null ? `exit code ${code ?? '?'}` : signal));
    if (child.pid !== undefined) {
      records.add(child.pid);
      const lastEnd = this.#lastEnd === undefined ? {} : { lastEnd: this.#lastEnd };
      this.#state = {
        state: 'running',
        pid: child.pid,
        since: started,
        restarts: this.#restarts,
        ...lastEnd,
      };
    }
    this.#options.onChange();
  }

  #ended(how: string, ranMs: number): void {
    this.#child = undefined;
    const { log, onChange } = this.#options;
    log.line(`-- ${this.name} ended: ${how}`);
    if (!this.#wanted) {
      this.#state = { state: 'stopped' };
      onChange();
      return;
    }
    if (ranMs >= STABLE_AFTER_MS) this.#backoff.reset();
    this.#restarts += 1;
    this.#lastEnd = how;
    this.#state = { state: 'waiting', restarts: this.#restarts, lastEnd: how };
    this.#timer = setTimeout(() => this.#spawn(), this.#backoff.next());
    onChange();
  }
}
