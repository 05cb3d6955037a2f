/** Growing, jittered waits between attempts of something that may fail for long. */
export interface BackoffOptions {
  readonly initialMs: number;
  readonly maxMs: number;
  readonly factor?: number;
  /** Share of the wait that is random, 0 to 1: peers that failed together must not come back together. */
  readonly jitter?: number;
}

export class Backoff {
  readonly #options: Required<BackoffOptions>;
  readonly #random: () => number;
  #nextMs: number;

  constructor(options: BackoffOptions, random: () => number = Math.random) {
    this.#options = { factor: 2, jitter: 0.2, ...options };
    this.#random = random;
    this.#nextMs = options.initialMs;
  }

  /** How long to wait before the next attempt, in milliseconds; each call grows it up to the maximum. */
  next(): number {
    const { factor, maxMs, jitter } = this.#options;
    const base = this.#nextMs;
    this.#nextMs = Math.min(maxMs, base * factor);
    return Math.min(maxMs, base * (1 - jitter + 2 * jitter * this.#random()));
  }

  /** To be called after a success. */
  reset(): void {
    this.#nextMs = this.#options.initialMs;
  }
}
