import type { Clock } from '../../lib/mesh/identity/clock.ts';
import { MONOTONIC_CLOCK } from './time.ts';

/**
 * Tells when nothing has moved for so long. A touch only notes the time: the one timer looks when it fires how long it really
 * was, and is armed again for the rest, so that a busy stream costs no timers.
 */
export class IdleTimeout {
  readonly #ms: number;
  readonly #onIdle: () => void;
  readonly #clock: Clock;
  #touched: number;
  #cancel: (() => void) | undefined;

  /**
   * @param ms 0: never
   * @param onIdle called at most once
   */
  constructor(ms: number, onIdle: () => void, clock: Clock = MONOTONIC_CLOCK) {
    this.#ms = ms;
    this.#onIdle = onIdle;
    this.#clock = clock;
    this.#touched = clock.now();
    if (ms > 0) this.#arm(ms);
  }

  /** Something moved, either way. */
  touch(): void {
    this.#touched = this.#clock.now();
  }

  /** The stream is over; to be called however it ended. */
  stop(): void {
    this.#cancel?.();
    this.#cancel = undefined;
  }

  #arm(ms: number): void {
    this.#cancel = this.#clock.after(ms, () => {
      this.#cancel = undefined;
      const left = this.#touched + this.#ms - this.#clock.now();
      if (left > 0) this.#arm(left);
      else this.#onIdle();
    });
  }
}
