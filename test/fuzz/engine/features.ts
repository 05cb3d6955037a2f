/**
 * Which branches were ever taken, and about how often in one execution: as AFL counts, in classes of 1, 2, 3, 4-7, 8-15,
 * 16-31, 32-127 and more, so that a loop run more often is something new and each further turn is not.
 */
export class Features {
  readonly #seen: Uint8Array;
  #count = 0;
  #branches = 0;

  constructor(size: number) {
    this.#seen = new Uint8Array(size);
  }

  /** Branches and classes together. */
  get count(): number {
    return this.#count;
  }

  /** Branches alone. */
  get branches(): number {
    return this.#branches;
  }

  /** Adds an execution's counters. @returns how much of it is new */
  add(counters: Uint8Array, used: number): number {
    let fresh = 0;
    for (let i = 0; i < used; i += 1) {
      const hits = counters[i] ?? 0;
      if (hits === 0) continue;
      const known = this.#seen[i] ?? 0;
      const bit = CLASS[hits] ?? 0;
      if ((known & bit) !== 0) continue;
      if (known === 0) this.#branches += 1;
      this.#seen[i] = known | bit;
      fresh += 1;
    }
    this.#count += fresh;
    return fresh;
  }

  /** What of an execution's counters is not known yet, as pairs of counter and class. Changes nothing. */
  missing(counters: Uint8Array, used: number): [counter: number, bit: number][] {
    const missing: [number, number][] = [];
    for (let i = 0; i < used; i += 1) {
      const hits = counters[i] ?? 0;
      if (hits === 0) continue;
      const bit = CLASS[hits] ?? 0;
      if (((this.#seen[i] ?? 0) & bit) === 0) missing.push([i, bit]);
    }
    return missing;
  }
}

/** Class of a number of hits. */
const CLASS = Uint8Array.from({ length: 256 }, (_, hits) => {
  if (hits <= 3) return [0, 1, 2, 4][hits] ?? 0;
  if (hits < 8) return 8;
  if (hits < 16) return 16;
  if (hits < 32) return 32;
  return hits < 128 ? 64 : 128;
});

/** Whether an execution shows all of these pairs. */
export function shows(counters: Uint8Array, pairs: readonly (readonly [number, number])[]): boolean {
  return pairs.every(([counter, bit]) => CLASS[counters[counter] ?? 0] === bit);
}
