/** Of lines that strangers can cause, per second, so that whoever makes up requests fills no log. */
const MAX_LINES = 10;
const WINDOW_MS = 1_000;

/** Says which of many like lines are to be logged. */
export class LogBound {
  readonly #now: () => number;
  #sinceMs = -Infinity;
  #lines = 0;
  #left = 0;

  /** @param now milliseconds that only go forward */
  constructor(now: () => number = () => performance.now()) {
    this.#now = now;
  }

  /** @returns undefined: not this one; else what is to be logged with it, which is how many were left out before */
  admit(): { readonly more?: number } | undefined {
    const now = this.#now();
    if (now - this.#sinceMs > WINDOW_MS) {
      this.#sinceMs = now;
      this.#lines = 0;
    }
    if (this.#lines >= MAX_LINES) {
      this.#left += 1;
      return undefined;
    }
    this.#lines += 1;
    const more = this.#left;
    this.#left = 0;
    return more > 0 ? { more } : {};
  }
}
