import { Worker } from 'node:worker_threads';
import type { LogLevel } from '../log.ts';
import type { CommonFromWorker, CommonToWorker, RequestMap } from './messages.ts';

const REQUEST_TIMEOUT_MS = 5_000;
/** A worker that is stalled does not drain; it is waited for so much longer than it was given. */
const DRAIN_GRACE_MS = 2_000;
const WATCHDOG_INTERVAL_MS = 1_000;
/** The worker reports every second; silent for so long, its event loop is stalled and connections stand still. */
const STALLED_MS = 5_000;

interface CommonHandlers<Status> {
  status(status: Status): void;
  log(level: LogLevel, message: string, fields: Readonly<Record<string, unknown>>): void;
  certificateWanted(identity: string): void;
  /** The event loop of the worker stalled, or recovered. */
  stalled(isStalled: boolean): void;
  /** It ended, by an uncaught exception or by running out of heap: the program cannot go on. */
  failed(error: Error): void;
}

/** One for each type of message that only this program has. */
type OwnHandlers<Own extends { readonly type: string }> = {
  readonly [T in Own['type']]: (message: Extract<Own, { readonly type: T }>) => void;
};

export type WorkerHandlers<Status, Own extends { readonly type: string }> = CommonHandlers<Status> & {
  readonly own: OwnHandlers<Own>;
};

export interface WorkerOptions {
  /** Its entry. */
  readonly module: URL;
  /** Of the thread. */
  readonly name: string;
  /** What it is started with; crosses by structured clone. */
  readonly start: unknown;
  readonly heapMb: number;
}

interface Waiting {
  readonly resolve: (value: unknown) => void;
  readonly reject: (error: Error) => void;
  readonly timer: NodeJS.Timeout;
}

/**
 * A connection worker, from the main thread.
 *
 * @typeParam R what can be asked of it
 * @typeParam ToOwn what else only this program tells it
 * @typeParam FromOwn what only this program's worker tells
 */
export class WorkerHost<
  R extends RequestMap<R>,
  ToOwn extends { readonly type: string },
  FromOwn extends { readonly type: string },
  Status,
> {
  readonly name: string;
  readonly #worker: Worker;
  readonly #handlers: CommonHandlers<Status>;
  readonly #own: ReadonlyMap<string, (message: never) => void>;
  readonly #waiting = new Map<number, Waiting>();
  readonly #watchdog: NodeJS.Timeout;
  #nextId = 1;
  #lastStatus = performance.now();
  #stalled = false;
  #stopping = false;
  #drained: ((cut: number | undefined) => void) | undefined;

  constructor({ module, name, start, heapMb }: WorkerOptions, handlers: WorkerHandlers<Status, FromOwn>) {
    this.name = name;
    this.#handlers = handlers;
    this.#own = new Map(Object.entries<(message: never) => void>(handlers.own));
    this.#worker = new Worker(module, {
      workerData: start,
      name,
      resourceLimits: { maxOldGenerationSizeMb: heapMb },
    });
    this.#worker.on('message', (message: CommonFromWorker<Status> | FromOwn) => this.#receive(message));
    this.#worker.on('error', (error) => handlers.failed(error as Error));
    this.#worker.on('exit', (code) => this.#ended(code));
    this.#watchdog = setInterval(() => this.#watch(), WATCHDOG_INTERVAL_MS);
  }

  /** Tells the worker something. Never waits. */
  post(event: Exclude<CommonToWorker<R>, { readonly type: 'request' }> | ToOwn): void {
    this.#worker.postMessage(event);
  }

  /** Asks the worker. @throws Error its failure, or none within 5 s */
  request<K extends keyof R & string>(what: K, body: R[K]['request']): Promise<R[K]['answer']> {
    const id = this.#nextId++;
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        this.#waiting.delete(id);
        reject(new Error(`the connection worker did not answer ${what} in ${REQUEST_TIMEOUT_MS / 1000} s`));
      }, REQUEST_TIMEOUT_MS);
      this.#waiting.set(id, { resolve, reject, timer });
      this.#worker.postMessage({ type: 'request', id, what, body });
    });
  }

  /** @returns how many connections were cut at the deadline; undefined when the worker did not say in time, or ended */
  drain(deadlineMs: number): Promise<number | undefined> {
    return new Promise((resolve) => {
      const timer = setTimeout(() => resolve(undefined), deadlineMs + DRAIN_GRACE_MS);
      this.#drained = (cut) => {
        clearTimeout(timer);
        resolve(cut);
      };
      this.post({ type: 'drain', deadlineMs });
    });
  }

  async stop(): Promise<void> {
    this.#stopping = true;
    await this.#worker.terminate();
  }

  #ended(code: number): void {
    clearInterval(this.#watchdog);
    for (const id of [...this.#waiting.keys()])
      this.#settle(id)?.reject(new Error('the connection worker ended'));
    this.#drained?.(undefined);
    if (!this.#stopping) this.#handlers.failed(new Error(`the connection worker ended with code ${code}`));
  }

  #watch(): void {
    const stalled = performance.now() - this.#lastStatus > STALLED_MS;
    if (stalled === this.#stalled) return;
    this.#stalled = stalled;
    this.#handlers.stalled(stalled);
  }

  #receive(received: CommonFromWorker<Status> | FromOwn): void {
    const own = this.#own.get(received.type);
    if (own !== undefined) {
      own(received as never);
      return;
    }
    const message = received as CommonFromWorker<Status>;
    switch (message.type) {
      case 'answer':
        this.#settle(message.id)?.resolve(message.value);
        return;
      case 'failed':
        this.#settle(message.id)?.reject(new Error(message.error));
        return;
      case 'status':
        this.#lastStatus = performance.now();
        this.#watch();
        this.#handlers.status(message.status);
        return;
      case 'log':
        this.#handlers.log(message.level, message.message, message.fields);
        return;
      case 'certificate-wanted':
        this.#handlers.certificateWanted(message.identity);
        return;
      case 'drained':
        this.#drained?.(message.cut);
        return;
    }
  }

  #settle(id: number): Waiting | undefined {
    const waiting = this.#waiting.get(id);
    this.#waiting.delete(id);
    clearTimeout(waiting?.timer);
    return waiting;
  }
}
