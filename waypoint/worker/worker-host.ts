import { Worker } from 'node:worker_threads';
import { siblingModule } from '../../lib/package-root.ts';
import type { FromWorker, LogLevel, Question, ToWorker, WorkerStart, WorkerStatus } from './messages.ts';
import type { TelemetryBatch } from '../telemetry/worker-telemetry.ts';

const ASK_TIMEOUT_MS = 5_000;
/** A worker that is stalled does not drain; it is waited for so much longer than it was given. */
const DRAIN_GRACE_MS = 2_000;
const WATCHDOG_INTERVAL_MS = 1_000;
/** The worker reports every second; silent for so long, its event loop is stalled and connections stand still. */
const STALLED_MS = 5_000;

export interface WorkerHandlers {
  listening(): void;
  telemetry(batch: TelemetryBatch): void;
  status(status: WorkerStatus): void;
  log(level: LogLevel, message: string, fields: Readonly<Record<string, unknown>>): void;
  certificateWanted(identity: string): void;
  /** The event loop of the worker stalled, or recovered. */
  stalled(isStalled: boolean): void;
  /** It ended, by an uncaught exception or by running out of heap: the program cannot go on. */
  failed(error: Error): void;
}

type Waiting = { resolve: (value: unknown) => void; reject: (error: Error) => void; timer: NodeJS.Timeout };
type Event = Exclude<ToWorker, { readonly type: 'ask' }>;

/** One connection worker, from the main thread. */
export class WorkerHost {
  readonly name: string;
  readonly #worker: Worker;
  readonly #handlers: WorkerHandlers;
  readonly #waiting = new Map<number, Waiting>();
  readonly #watchdog: NodeJS.Timeout;
  #nextId = 1;
  #lastStatus = performance.now();
  #stalled = false;
  #stopping = false;
  #drained: ((cut: number) => void) | undefined;

  constructor(name: string, start: WorkerStart, heapMb: number, handlers: WorkerHandlers) {
    this.name = name;
    this.#handlers = handlers;
    this.#worker = new Worker(siblingModule(import.meta.url, './connection-worker'), {
      workerData: start,
      name,
      resourceLimits: { maxOldGenerationSizeMb: heapMb },
    });
    this.#worker.on('message', (message: FromWorker) => this.#receive(message));
    this.#worker.on('error', (error) => handlers.failed(error as Error));
    this.#worker.on('exit', (code) => {
      clearInterval(this.#watchdog);
      for (const { reject } of this.#waiting.values()) reject(new Error('the connection worker ended'));
      if (!this.#stopping) handlers.failed(new Error(`the connection worker ended with code ${code}`));
    });
    this.#watchdog = setInterval(() => this.#watch(), WATCHDOG_INTERVAL_MS);
  }

  /** Tells the worker something. Never waits. */
  post(event: Event): void {
    this.#worker.postMessage(event);
  }

  /** Asks the worker. @throws Error its failure, or none within 5 s */
  ask(what: Question): Promise<unknown> {
    const id = this.#nextId++;
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        this.#waiting.delete(id);
        reject(new Error(`the connection worker did not answer ${what} in ${ASK_TIMEOUT_MS / 1000} s`));
      }, ASK_TIMEOUT_MS);
      this.#waiting.set(id, { resolve, reject, timer });
      this.#worker.postMessage({ type: 'ask', id, what } satisfies ToWorker);
    });
  }

  /** @returns how many connections were cut at the deadline; undefined when the worker did not say in time */
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

  #watch(): void {
    const stalled = performance.now() - this.#lastStatus > STALLED_MS;
    if (stalled === this.#stalled) return;
    this.#stalled = stalled;
    this.#handlers.stalled(stalled);
  }

  #receive(message: FromWorker): void {
    switch (message.type) {
      case 'listening':
        this.#handlers.listening();
        return;
      case 'answer': {
        const waiting = this.#waiting.get(message.id);
        this.#waiting.delete(message.id);
        clearTimeout(waiting?.timer);
        waiting?.resolve(message.value);
        return;
      }
      case 'status':
        this.#lastStatus = performance.now();
        this.#watch();
        this.#handlers.status(message.status);
        return;
      case 'telemetry':
        this.#handlers.telemetry(message.batch);
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
}
