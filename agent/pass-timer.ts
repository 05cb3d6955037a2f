import type { Clock } from './clock.ts';

/** When the next pass is due: the earliest that anybody asked for. */
export class PassTimer {
  readonly #clock: Clock;
  readonly #pass: () => void;
  #timer: Disposable | undefined;
  #dueAt = Infinity;
  #stopped = false;

  constructor(clock: Clock, pass: () => void) {
    this.#clock = clock;
    this.#pass = pass;
  }

  get stopped(): boolean {
    return this.#stopped;
  }

  schedule(delayMs: number): void {
    if (this.#stopped) return;
    const dueAt = this.#clock.now() + delayMs;
    if (this.#timer !== undefined && this.#dueAt <= dueAt) return;
    this.#timer?.[Symbol.dispose]();
    this.#dueAt = dueAt;
    this.#timer = this.#clock.after(delayMs, () => {
      this.#timer = undefined;
      this.#pass();
    });
  }

  stop(): void {
    this.#stopped = true;
    this.#timer?.[Symbol.dispose]();
  }
}
