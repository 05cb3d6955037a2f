/** Lets `requests` through in each `per` milliseconds, and up to `burst` at once after a pause. */
export class TokenBucket {
  readonly #requests: number;
  /** What one token costs. Credit is counted in requests times milliseconds, which adds up without rounding. */
  readonly #cost: number;
  readonly #most: number;
  #credit: number;
  #at: number;

  /** Begins full. */
  constructor(requests: number, per: number, burst: number, now: number) {
    this.#requests = requests;
    this.#cost = per;
    this.#most = burst * per;
    this.#credit = this.#most;
    this.#at = now;
  }

  /** Milliseconds until one token is there; 0: now. Infinity when none ever comes. */
  waitMs(now: number): number {
    this.#refill(now);
    return this.#credit >= this.#cost ? 0 : (this.#cost - this.#credit) / this.#requests;
  }

  /** Takes one that {@link waitMs} said is there. */
  take(now: number): void {
    this.#refill(now);
    this.#credit = Math.max(0, this.#credit - this.#cost);
  }

  /** Undoes a {@link take}. */
  giveBack(now: number): void {
    this.#refill(now);
    this.#credit = Math.min(this.#most, this.#credit + this.#cost);
  }

  /** Whether it is as good as new: forgetting it then changes nothing. */
  full(now: number): boolean {
    this.#refill(now);
    return this.#credit >= this.#most;
  }

  #refill(now: number): void {
    if (now <= this.#at) return;
    this.#credit = Math.min(this.#most, this.#credit + (now - this.#at) * this.#requests);
    this.#at = now;
  }
}
