/** Rates are taken over this long. */
const WINDOW_MS = 2_000;

interface Sample {
  readonly at: number;
  readonly counts: ReadonlyMap<string, number>;
}

/** How fast counters grow, by name. */
export class Rates {
  #samples: readonly Sample[] = [];

  /** @param at ms of any clock that goes on steadily */
  note(at: number, counts: ReadonlyMap<string, number>): void {
    this.#samples = [...this.#samples.filter((sample) => at - sample.at <= WINDOW_MS), { at, counts }];
  }

  /** Per second, lately; 0 where nothing is known yet. */
  of(name: string): number {
    const first = this.#samples[0];
    const last = this.#samples.at(-1);
    if (first === undefined || last === undefined || last.at === first.at) return 0;
    const grown = (last.counts.get(name) ?? 0) - (first.counts.get(name) ?? 0);
    return Math.max(0, grown) / ((last.at - first.at) / 1000);
  }
}
