/** The golden ratio's fraction: of all steps the one that leaves the smallest gaps. */
export const GOLDEN_STEP = (Math.sqrt(5) - 1) / 2;

/**
 * Steps for decisions that must be independent of the one by {@link GOLDEN_STEP} and of each other. Square roots of
 * different primes and 1 have no rational dependence, so that the pairs fill the square evenly (Weyl): a tenth that is
 * mirrored is not always the tenth that goes to the canary.
 */
const OTHER_STEPS = [2, 3, 7, 11, 13, 17, 19, 23].map((prime) => Math.sqrt(prime) % 1);

/** The step for the nth decision beside the choice of a backend. */
export function otherStep(n: number): number {
  return OTHER_STEPS[n % OTHER_STEPS.length] ?? GOLDEN_STEP;
}

/**
 * A sequence of numbers in [0, 1) that is spread evenly in every stretch of it (additive recurrence): of n draws,
 * the share that falls below w differs from w by about log(n)/n, where random draws differ by 1/sqrt(n). Unlike a
 * fixed rota it has no period, so that requests that come in a rhythm (every second one a POST) get their shares too.
 * It begins at random, else all workers of all waypoints would take their steps alike.
 */
export class Phase {
  readonly #step: number;
  #at: number;

  constructor(step: number = GOLDEN_STEP, start: number = Math.random()) {
    this.#step = step;
    this.#at = start;
  }

  next(): number {
    this.#at = (this.#at + this.#step) % 1;
    return this.#at;
  }
}
