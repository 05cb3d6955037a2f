import { Gauge } from 'prom-client';
import type { Exemplar } from '../../lib/admin/openmetrics.ts';
import type { HistogramDelta } from './request-metrics.ts';
import { labelKey } from './series-table.ts';

/** What is shown of one label set. */
export interface HistogramState {
  readonly labels: Readonly<Record<string, string>>;
  readonly buckets: number[];
  sum: number;
  count: number;
  /** The newest of each bucket that has one, by its place: never more than there are buckets. */
  exemplars?: Map<number, Exemplar>;
}

export interface BucketHistogramOptions {
  readonly name: string;
  readonly help: string;
  readonly labelNames: readonly string[];
  /** Upper bounds, ascending, without infinity. */
  readonly bounds: readonly number[];
  readonly registers: ConstructorParameters<typeof Gauge>[0]['registers'];
}

/**
 * A Prometheus histogram that is fed with whole buckets, counted elsewhere: prom-client's own takes one observation at a
 * time, and the observations stay in the worker. It is a Gauge to the registry only in that a Gauge's `get` may be
 * replaced; what is shown is a histogram.
 */
export class BucketHistogram extends Gauge {
  readonly #name: string;
  readonly #help: string;
  readonly #labelNames: readonly string[];
  readonly #bounds: readonly number[];
  readonly #states = new Map<string, HistogramState>();

  constructor(options: BucketHistogramOptions) {
    const { name, help, labelNames, bounds, registers } = options;
    super({ name, help, labelNames: [...labelNames], ...(registers && { registers }) });
    this.#name = name;
    this.#help = help;
    this.#labelNames = labelNames;
    this.#bounds = bounds;
  }

  /** Where what workers count under a label set is added, until it is forgotten. */
  state(labels: readonly string[]): HistogramState {
    const key = labelKey(labels);
    let state = this.#states.get(key);
    if (state === undefined) {
      const named = Object.fromEntries(this.#labelNames.map((name, at) => [name, labels[at] ?? '']));
      const buckets = new Array<number>(this.#bounds.length + 1).fill(0);
      state = { labels: named, buckets, sum: 0, count: 0 };
      this.#states.set(key, state);
    }
    return state;
  }

  /** Forgets a label set. */
  forget(labels: readonly string[]): void {
    this.#states.delete(labelKey(labels));
  }

  // eslint-disable-next-line @typescript-eslint/require-await -- prom-client awaits it
  override async get(): ReturnType<Gauge['get']> {
    const values = [];
    for (const state of this.#states.values()) {
      const { labels, count, sum, exemplars } = state;
      const common = labels;
      const metricName = `${this.#name}_bucket`;
      let below = 0;
      for (const [at, bound] of this.#bounds.entries()) {
        below += state.buckets[at] ?? 0;
        const exemplar = exemplars?.get(at);
        values.push({ metricName, common, labels: { ...labels, le: bound }, value: below, exemplar });
      }
      const exemplar = exemplars?.get(this.#bounds.length);
      values.push({ metricName, common, labels: { ...labels, le: '+Inf' }, value: count, exemplar });
      values.push({ metricName: `${this.#name}_sum`, common, labels, value: sum });
      values.push({ metricName: `${this.#name}_count`, common, labels, value: count });
    }
    return { name: this.#name, help: this.#help, type: 'histogram', values } as unknown as Awaited<
      ReturnType<Gauge['get']>
    >;
  }
}

/** Adds what a worker counted. */
export function addTo(state: HistogramState, delta: HistogramDelta): void {
  for (let at = 0; at < delta.buckets.length; at += 1) {
    state.buckets[at] = (state.buckets[at] ?? 0) + (delta.buckets[at] ?? 0);
  }
  state.sum += delta.sum;
  state.count += delta.count;
}

/** Shows a bucket by this one, unless another worker has told of a newer. */
export function addExemplar(state: HistogramState, bucket: number, exemplar: Exemplar): void {
  state.exemplars ??= new Map();
  const shown = state.exemplars.get(bucket);
  if (shown === undefined || shown.timestamp <= exemplar.timestamp) state.exemplars.set(bucket, exemplar);
}
