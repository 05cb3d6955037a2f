import { watchTime, type WallClock } from '../../../../../lib/mesh/identity/clock.ts';

/** Time that the test moves. */
export class FakeClock implements WallClock {
  #now: number;
  #ahead = 0;
  readonly #timers = new Set<{ at: number; callback: () => void }>();

  constructor(now = Date.now()) {
    this.#now = now;
  }

  now(): number {
    return this.#now + this.#ahead;
  }

  at(time: number, callback: () => void): () => void {
    return watchTime(this, time, callback);
  }

  /** Somebody sets the clock, ahead or back: timers do not notice. */
  set(ms: number): void {
    this.#ahead += ms;
  }

  after(ms: number, callback: () => void): () => void {
    const timer = { at: this.#now + Math.max(0, ms), callback };
    this.#timers.add(timer);
    return () => this.#timers.delete(timer);
  }

  /** When the timers that are set will fire, in milliseconds from now, soonest first. */
  pending(): number[] {
    return [...this.#timers].map((t) => t.at - this.#now).sort((a, b) => a - b);
  }

  /** Moves on, firing what falls due on the way. */
  advance(ms: number): void {
    const end = this.#now + ms;
    for (;;) {
      const due = [...this.#timers].filter((t) => t.at <= end).sort((a, b) => a.at - b.at)[0];
      if (!due) break;
      this.#timers.delete(due);
      this.#now = Math.max(this.#now, due.at);
      due.callback();
    }
    this.#now = end;
  }
}
