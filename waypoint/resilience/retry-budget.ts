import type { RetryBudget as Settings } from '../../proto/gen/loam/waypoint/v1/waypoint_pb.js';
import { MONOTONIC_NOW, type Now } from './time.ts';

export type BudgetSettings = Pick<Settings, 'percent' | 'window' | 'minPerSecond'>;

/** The window slides in so many steps. */
const SLOTS = 10;

/** Of a window that is not given; the documented default. */
const WINDOW_MS = 10_000;

interface Slot {
  /** Number of the step since the clock's zero; -1: never used. */
  step: number;
  requests: number;
  retries: number;
}

/**
 * Bounds retries by the requests that there were within a sliding window: a backend that fails altogether must not get
 * several times its load on top. One for each backend and policy; it outlives changes of the policy.
 */
export class RetryBudget {
  readonly #now: Now;
  readonly #slots: Slot[] = Array.from({ length: SLOTS }, () => ({ step: -1, requests: 0, retries: 0 }));
  #settings: BudgetSettings | undefined;
  #windowMs = WINDOW_MS;

  constructor(settings: BudgetSettings | undefined, now: Now = MONOTONIC_NOW) {
    this.#now = now;
    this.configure(settings);
  }

  /** @param settings undefined: no bound */
  configure(settings: BudgetSettings | undefined): void {
    const windowMs = settings === undefined || settings.window === 0 ? WINDOW_MS : settings.window;
    // Steps of another length cannot be compared: what was counted by them is forgotten.
    if (windowMs !== this.#windowMs) for (const slot of this.#slots) slot.step = -1;
    this.#settings = settings;
    this.#windowMs = windowMs;
  }

  /** Counts a request; its retries are none. */
  onRequest(): void {
    this.#slot().requests++;
  }

  /** Whether one more retry is within the budget, and counts it. */
  tryRetry(): boolean {
    const slot = this.#slot();
    if (this.#settings !== undefined) {
      const { requests, retries } = this.#sum(slot.step);
      const { percent, minPerSecond } = this.#settings;
      const allowed = Math.max((requests * percent) / 100, (minPerSecond * this.#windowMs) / 1_000);
      if (retries + 1 > allowed) return false;
    }
    slot.retries++;
    return true;
  }

  #slot(): Slot {
    const step = Math.floor((this.#now() * SLOTS) / this.#windowMs);
    const slot = this.#slots[step % SLOTS];
    if (slot === undefined) throw new RangeError(`time ${step} is before the clock's zero`);
    if (slot.step !== step) {
      slot.step = step;
      slot.requests = 0;
      slot.retries = 0;
    }
    return slot;
  }

  #sum(step: number): { requests: number; retries: number } {
    let requests = 0;
    let retries = 0;
    for (const slot of this.#slots) {
      if (slot.step < 0 || slot.step <= step - SLOTS) continue;
      requests += slot.requests;
      retries += slot.retries;
    }
    return { requests, retries };
  }
}
