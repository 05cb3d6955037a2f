/** Has the kernel check programs for pods that are to come while nothing else is to be done, so that a new pod does not wait for it. */
import type { Clock } from './clock.ts';
import type { RedirectionPort } from './redirection-port.ts';

/** No pass for so long: pods are not starting now. */
const QUIET_MS = 500;
/** Between two, so that whoever comes meanwhile waits for one at most. */
const STEP_MS = 100;

export class SparePrograms {
  readonly #redirection: Pick<RedirectionPort, 'makeSpare'>;
  readonly #clock: Clock;
  #timer: Disposable | undefined;

  constructor(redirection: Pick<RedirectionPort, 'makeSpare'>, clock: Clock) {
    this.#redirection = redirection;
    this.#clock = clock;
  }

  /** To be called after each pass of the reconciler. */
  passed(): void {
    this.#schedule(QUIET_MS);
  }

  stop(): void {
    this.#timer?.[Symbol.dispose]();
  }

  #schedule(delayMs: number): void {
    this.#timer?.[Symbol.dispose]();
    this.#timer = this.#clock.after(delayMs, () => {
      if (this.#redirection.makeSpare()) this.#schedule(STEP_MS);
    });
  }
}
