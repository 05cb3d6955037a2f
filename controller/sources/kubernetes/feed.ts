import type { Assignments, AssignmentsFeed } from '../assignments.ts';
import type { SourceGate } from '../source.ts';

interface Whole {
  readonly current: () => Assignments;
  readonly gate: () => SourceGate;
  readonly onChange: (listener: () => void, signal: AbortSignal) => void;
  readonly start: () => void;
  readonly close: () => Promise<void>;
}

/** Where objects are, as part of something else that knows it: what the compiler wants beside the objects. */
export class PlacesFeed implements AssignmentsFeed {
  readonly #of: Whole;

  constructor(of: Whole) {
    this.#of = of;
  }

  get current(): Assignments {
    return this.#of.current();
  }

  gate(): SourceGate {
    return this.#of.gate();
  }

  onChange(listener: () => void, signal: AbortSignal): void {
    this.#of.onChange(listener, signal);
  }

  /** Does not wait until all is known: what is started after it may be what tells why that takes long. */
  start(): Promise<void> {
    this.#of.start();
    return Promise.resolve();
  }

  close(): Promise<void> {
    return this.#of.close();
  }
}
