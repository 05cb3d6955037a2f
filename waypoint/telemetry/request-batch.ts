import type { Exemplar } from '../../lib/admin/openmetrics.ts';
import { BUCKETS, type HistogramDelta, type RequestCounts } from './request-metrics.ts';

/**
 * What a worker's request metrics grew by, on its way to the main thread. With a label set for each of thousands of routes,
 * to copy labels and objects time and again costs more than to count: so a label set travels once, under a number of this
 * worker's, and counts travel as one list of numbers.
 */
export interface RequestBatch {
  /** Label sets that were not told before. */
  readonly fresh: readonly { readonly id: number; readonly labels: readonly string[] }[];
  /** See {@link packCounts}. */
  readonly counts: Float64Array;
  /** Requests whose trace is exported, at most one for each bucket of a duration. */
  readonly exemplars: readonly BucketExemplar[];
  /** Label sets that this worker knows no more. Their numbers do not come again. */
  readonly evicted: readonly number[];
}

/** A request that stands for those of its bucket. */
export interface BucketExemplar {
  /** The label set's number. */
  readonly id: number;
  /** Place of its bucket. */
  readonly bucket: number;
  readonly exemplar: Exemplar;
}

/** Appends one series: number, counters, then of each histogram its sum, its filled buckets and each of these with its count. */
export function packCounts(into: number[], id: number, counts: RequestCounts): void {
  into.push(id, counts.requests, counts.requestMessages, counts.responseMessages);
  for (const { sum, buckets } of [counts.duration, counts.requestBytes, counts.responseBytes]) {
    const length = into.push(sum, 0);
    let filled = 0;
    for (let at = 0; at < buckets.length; at += 1) {
      const count = buckets[at] ?? 0;
      if (count === 0) continue;
      into.push(at, count);
      filled += 1;
    }
    into[length - 1] = filled;
  }
}

/** The inverse of {@link packCounts}, for a list of any number of series. */
export function unpackCounts(list: Float64Array): { readonly id: number; readonly counts: RequestCounts }[] {
  let at = 0;
  const next = (): number => list[at++] ?? 0;
  const histogram = (): HistogramDelta => {
    const buckets = new Array<number>(BUCKETS.length + 1).fill(0);
    const sum = next();
    let count = 0;
    for (let filled = next(); filled > 0; filled -= 1) {
      const bucket = next();
      count += buckets[bucket] = next();
    }
    return { buckets, sum, count };
  };
  const series = [];
  while (at < list.length) {
    const [id, requests, requestMessages, responseMessages] = [next(), next(), next(), next()];
    const [duration, requestBytes, responseBytes] = [histogram(), histogram(), histogram()];
    const sizes = { requestBytes, responseBytes, requestMessages, responseMessages };
    series.push({ id, counts: { requests, duration, ...sizes } });
  }
  return series;
}
