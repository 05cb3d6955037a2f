/**
 * Durations in buckets that grow by a fixed factor, so that those of several processes can be added up and any quantile read with the
 * same relative error. Browser and programs share it.
 */
import type { Durations } from './event.ts';

/** Buckets for each doubling: a quantile is right to 4.5 %. */
const PER_DOUBLING = 8;
/** Bucket 0 begins here; all that is shorter is in it. */
const FIRST_MS = 0.01;
/** About 28 hours; all that is longer is in it. */
const LAST_BUCKET = 280;

/** The bucket of a duration in ms. */
export function bucketOf(ms: number): number {
  if (!(ms > FIRST_MS)) return 0;
  return Math.min(LAST_BUCKET, Math.floor(Math.log2(ms / FIRST_MS) * PER_DOUBLING));
}

/** The middle of a bucket (geometric), in ms. */
export function bucketMs(bucket: number): number {
  return FIRST_MS * 2 ** ((bucket + 0.5) / PER_DOUBLING);
}

/** Counts durations. */
export class Histogram {
  readonly #counts = new Map<number, number>();
  #total = 0;

  get total(): number {
    return this.#total;
  }

  add(ms: number): void {
    this.#addTo(bucketOf(ms), 1);
  }

  /** Adds what another one counted. What does not fit the form is passed over. */
  merge(durations: Durations): void {
    for (let at = 0; at + 1 < durations.length; at += 2) {
      const [bucket = -1, count = 0] = [durations[at], durations[at + 1]];
      if (Number.isInteger(bucket) && bucket >= 0 && bucket <= LAST_BUCKET && count > 0)
        this.#addTo(bucket, count);
    }
  }

  /** In the order of buckets. */
  toDurations(): Durations {
    return [...this.#counts].sort(([a], [b]) => a - b).flat();
  }

  /** The duration in ms that the share `q` (0 to 1) does not exceed; undefined: nothing was counted. */
  quantile(q: number): number | undefined {
    return this.quantiles([q])[0];
  }

  /** The same for several, in ascending order. */
  quantiles(wanted: readonly number[]): (number | undefined)[] {
    if (this.#total === 0) return wanted.map(() => undefined);
    const buckets = [...this.#counts].sort(([a], [b]) => a - b);
    let seen = 0;
    let at = 0;
    return wanted.map((q) => {
      const rank = Math.max(1, Math.ceil(q * this.#total));
      while (at < buckets.length && seen + (buckets[at]?.[1] ?? 0) < rank) {
        seen += buckets[at]?.[1] ?? 0;
        at += 1;
      }
      return bucketMs(buckets[Math.min(at, buckets.length - 1)]?.[0] ?? 0);
    });
  }

  #addTo(bucket: number, count: number): void {
    this.#counts.set(bucket, (this.#counts.get(bucket) ?? 0) + count);
    this.#total += count;
  }
}
