import type { Logger } from 'pino';
import { Backoff } from '../../../lib/backoff.ts';
import { errorText } from '../../../lib/loam-error.ts';

const RETRY = { initialMs: 500, maxMs: 30_000 };
const MAX_AT_ONCE = 4;
/** Of one key: so often at once, and then at most once in an interval. Whoever undoes our work all the time makes no storm of it. */
const BURST = 5;
const INTERVAL_MS = 5_000;

export interface RetryQueueOptions {
  /** Brings what is under a key to what it should be; what it throws is logged, and it is done again later. */
  readonly work: (key: string) => Promise<void>;
  /** Nothing is done after it aborts. */
  readonly signal: AbortSignal;
  readonly log: Logger;
  /** Milliseconds, for tests; see INTERVAL_MS. */
  readonly intervalMs?: number;
}

/**
 * Works off keys, a few at a time and never one key twice at once; a key that is added while it is worked on is worked on again.
 * One that fails waits, longer each time; one that is added again and again waits too.
 */
export class RetryQueue {
  readonly #options: RetryQueueOptions;
  readonly #due = new Set<string>();
  readonly #running = new Set<string>();
  readonly #waiting = new Map<string, { readonly backoff: Backoff; timer: NodeJS.Timeout | undefined }>();
  /** Until when what was done for a key counts, if each time counts for an interval. */
  readonly #countsUntilMs = new Map<string, number>();
  readonly #paced = new Map<string, NodeJS.Timeout>();

  constructor(options: RetryQueueOptions) {
    this.#options = options;
    options.signal.addEventListener('abort', () => {
      this.#due.clear();
      for (const { timer } of this.#waiting.values()) clearTimeout(timer);
      for (const timer of this.#paced.values()) clearTimeout(timer);
    });
  }

  /** One that waits after a failure goes on waiting: what is added all the time must not be tried all the time. */
  add(key: string): void {
    if (this.#waiting.get(key)?.timer === undefined) this.#put(key);
  }

  #put(key: string): void {
    if (this.#options.signal.aborted || this.#paced.has(key)) return;
    const waitMs = (this.#countsUntilMs.get(key) ?? 0) - performance.now() - (BURST - 1) * this.#intervalMs;
    if (waitMs <= 0) return this.#begin(key);
    const timer = setTimeout(() => {
      this.#paced.delete(key);
      this.#put(key);
    }, waitMs);
    this.#paced.set(key, timer);
  }

  get #intervalMs(): number {
    return this.#options.intervalMs ?? INTERVAL_MS;
  }

  #begin(key: string): void {
    this.#due.add(key);
    this.#next();
  }

  #count(key: string): void {
    const now = performance.now();
    for (const [each, untilMs] of this.#countsUntilMs) if (untilMs <= now) this.#countsUntilMs.delete(each);
    this.#countsUntilMs.set(key, Math.max(now, this.#countsUntilMs.get(key) ?? 0) + this.#intervalMs);
  }

  #next(): void {
    for (const key of this.#due) {
      if (this.#running.size >= MAX_AT_ONCE) return;
      if (this.#running.has(key)) continue;
      this.#due.delete(key);
      this.#running.add(key);
      void this.#run(key);
    }
  }

  async #run(key: string): Promise<void> {
    const { work, log, signal } = this.#options;
    this.#count(key);
    try {
      await work(key);
      clearTimeout(this.#waiting.get(key)?.timer);
      this.#waiting.delete(key);
    } catch (error) {
      const entry = this.#waiting.get(key) ?? { backoff: new Backoff(RETRY), timer: undefined };
      this.#waiting.set(key, entry);
      const waitMs = Math.round(entry.backoff.next());
      clearTimeout(entry.timer);
      if (!signal.aborted) {
        log.warn(
          { key, reason: errorText(error), waitMs },
          'it could not be brought about, and is tried again',
        );
        entry.timer = setTimeout(() => {
          entry.timer = undefined;
          this.#put(key);
        }, waitMs);
      }
    }
    this.#running.delete(key);
    if (!signal.aborted) this.#next();
  }
}
