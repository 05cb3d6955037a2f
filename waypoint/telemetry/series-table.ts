/** So many label sets a worker keeps apart; what is more goes into one set of unknowns, so that peers cannot exhaust memory. */
const MAX_LABEL_SETS = 5_000;
/** A label set without a change for so long is forgotten here and in the registry. */
const IDLE_EVICTION_MS = 600_000;

/** Counts of one label set; `counts` holds what grew since the last hand-over. */
export interface Series<C> {
  /** Tells it apart from every other of this table, those that are forgotten too. */
  readonly id: number;
  readonly labels: readonly string[];
  counts: C;
  /** Users that hold it and may still add to it: it is not forgotten meanwhile. */
  held: number;
  lastUsed: number;
}

/** Growth of one label set, as it travels to the main thread. */
export interface SeriesDelta<C> {
  readonly labels: readonly string[];
  readonly counts: C;
}

export interface SeriesBatch<C> {
  readonly changed: readonly SeriesDelta<C>[];
  /** Label sets that this worker knows no more. */
  readonly evicted: readonly (readonly string[])[];
}

export interface SeriesTableOptions<C> {
  /** A fresh set of counts. */
  readonly zero: () => C;
  /** The label set that takes what goes beyond the bound. */
  readonly overflow: readonly string[];
  readonly maxLabelSets?: number;
}

/** The key of a label set. No value has a line feed: they come from the control plane, a certificate or our own lists. */
export function labelKey(labels: readonly string[]): string {
  return labels.join('\n');
}

/** Label sets of one worker with their growth: bounded, and idle ones are forgotten. */
export class SeriesTable<C> {
  readonly #zero: () => C;
  readonly #overflow: readonly string[];
  readonly #max: number;
  readonly #series = new Map<string, Series<C>>();
  readonly #dirty = new Set<Series<C>>();
  #nextId = 1;

  constructor(options: SeriesTableOptions<C>) {
    this.#zero = options.zero;
    this.#overflow = options.overflow;
    this.#max = options.maxLabelSets ?? MAX_LABEL_SETS;
  }

  get size(): number {
    return this.#series.size;
  }

  /** The series of a label set, made when it is new. */
  get(labels: readonly string[]): Series<C> {
    const key = labelKey(labels);
    const known = this.#series.get(key);
    if (known !== undefined) return known;
    if (this.#series.size >= this.#max && labels !== this.#overflow) return this.get(this.#overflow);
    const series: Series<C> = {
      ...{ id: this.#nextId++, labels, counts: this.#zero() },
      ...{ held: 0, lastUsed: performance.now() },
    };
    this.#series.set(key, series);
    return series;
  }

  /** To be called with every addition to `series.counts`. */
  touch(series: Series<C>): void {
    this.#dirty.add(series);
  }

  /** What grew since the last call. */
  take(now: number = performance.now()): SeriesDelta<C>[] {
    const changed: SeriesDelta<C>[] = [];
    this.drain((series) => {
      changed.push({ labels: series.labels, counts: series.counts });
      series.counts = this.#zero();
    }, now);
    return changed;
  }

  /** Gives each series that grew since the last call, to be read and set back to zero. */
  drain(read: (series: Series<C>) => void, now: number): void {
    for (const series of this.#dirty) {
      read(series);
      series.lastUsed = now;
    }
    this.#dirty.clear();
  }

  /** Forgets what was idle for long enough. */
  evict(now: number = performance.now()): Series<C>[] {
    const evicted: Series<C>[] = [];
    for (const [key, series] of this.#series) {
      if (series.held > 0 || this.#dirty.has(series) || now - series.lastUsed <= IDLE_EVICTION_MS) continue;
      this.#series.delete(key);
      evicted.push(series);
    }
    return evicted;
  }
}
