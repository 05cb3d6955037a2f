import type { RetryBudget as Settings } from '../../proto/gen/loam/waypoint/v1/waypoint_pb.js';
import { MONOTONIC_NOW, type Now } from './time.ts';

export type BudgetSettings = Pick<Settings, 'percent' | 'window' | 'minPerSecond'>;

/** The window slides in so many steps. */
const SLOTS = 10;

/** Where no TrafficPolicy says another (docs/traffic-policy.md): there are no retries without a budget. */
export const DEFAULT_BUDGET: BudgetSettings = { percent: 20, window: 10_000, minPerSecond: 10 };

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
  #settings: BudgetSettings = DEFAULT_BUDGET;

  constructor(settings: BudgetSettings | undefined, now: Now = MONOTONIC_NOW) {
    this.#now = now;
    this.configure(settings);
  }

  /** @param settings undefined: the default */
  configure(settings: BudgetSettings = DEFAULT_BUDGET): void {
    const window = settings.window === 0 ? DEFAULT_BUDGET.window : settings.window;
    // Steps of another length cannot be compared: what was counted by them is forgotten.
    if (window !== this.#settings.window) for (const slot of this.#slots) slot.step = -1;
    this.#settings = { ...settings, window };
  }

  /** Counts a request; its retries are none. */
  onRequest(): void {
    this.#slot().requests++;
  }

  /** Whether one more retry is within the budget, and counts it. */
  tryRetry(): boolean {
    const slot = this.#slot();
    const { requests, retries } = this.#sum(slot.step);
    const { percent, minPerSecond, window } = this.#settings;
    const allowed = Math.max((requests * percent) / 100, (minPerSecond * window) / 1_000);
    if (retries + 1 > allowed) return false;
    slot.retries++;
    return true;
  }

  #slot(): Slot {
    const step = Math.floor((this.#now() * SLOTS) / this.#settings.window);
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
