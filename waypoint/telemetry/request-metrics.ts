import type { RequestRecord } from './request-record.ts';
import { packCounts, type BucketExemplar, type RequestBatch } from './request-batch.ts';
import { SeriesTable, type Series } from './series-table.ts';
import { PEER_LABELS, peerLabelValues, securityPolicy, UNKNOWN, unknownPeers } from './workload-labels.ts';

/** Labels of the HTTP metrics: Istio's standard set, and `route`. */
export const REQUEST_LABELS = [
  ...PEER_LABELS,
  'request_protocol',
  'response_code',
  'grpc_response_status',
  'response_flags',
  'connection_security_policy',
  'route',
] as const;

/**
 * Upper bounds of the buckets, in ms and in bytes alike: Envoy's defaults, which Istio's proxies use for all of these
 * histograms, so that dashboards fit.
 */
export const BUCKETS = [
  0.5, 1, 5, 10, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 30_000, 60_000, 300_000, 600_000,
  1_800_000, 3_600_000,
] as const;

/** Growth of one histogram: one count for each of {@link BUCKETS} and one for what is above; not cumulative. */
export interface HistogramDelta {
  readonly buckets: number[];
  sum: number;
  count: number;
}

/** Growth of one label set. */
export interface RequestCounts {
  requests: number;
  readonly duration: HistogramDelta;
  readonly requestBytes: HistogramDelta;
  readonly responseBytes: HistogramDelta;
  requestMessages: number;
  responseMessages: number;
}

const NO_ROUTE = 'none';
/** The shortcut is thrown away whole beyond so many entries; it is only a shortcut. */
const MAX_SHORTCUTS = 20_000;

/** Request metrics of one worker thread. */
export class RequestMetrics {
  readonly #table: SeriesTable<RequestCounts>;
  /** From a short key of objects' numbers to the series, so that a request does not build all its labels. */
  readonly #shortcuts = new Map<string, Series<RequestCounts>>();
  readonly #numbers = new WeakMap<object, number>();
  /** The last of each bucket since the last call, by series and bucket. */
  readonly #exemplars = new Map<number, BucketExemplar>();
  /** The main thread knows label sets up to this number. */
  #told = 0;
  #nextNumber = 1;

  constructor(maxLabelSets?: number) {
    this.#table = new SeriesTable({
      zero,
      overflow: [...unknownPeers(), ...REQUEST_LABELS.slice(PEER_LABELS.length).map(() => UNKNOWN)],
      ...(maxLabelSets !== undefined && { maxLabelSets }),
    });
  }

  /**
   * Counts a request that has ended.
   *
   * @param isExported whether its spans are on their way to a collector, so that its trace can be shown for its duration
   * @param nowMs since the epoch, by the clock of the wall: Prometheus puts exemplars beside its own times
   */
  record(record: RequestRecord, isExported = false, nowMs: number = Date.now()): void {
    const series = this.#series(record);
    const { counts } = series;
    counts.requests += 1;
    const bucket = observe(counts.duration, record.durationMs);
    if (isExported) this.#exemplify(series.id, bucket, record, nowMs);
    observe(counts.requestBytes, record.requestBytes);
    observe(counts.responseBytes, record.responseBytes);
    counts.requestMessages += record.requestMessages;
    counts.responseMessages += record.responseMessages;
    this.#table.touch(series);
  }

  /** What grew since the last call; `evict` also forgets idle label sets, which costs a walk over all of them. */
  takeBatch(evict: boolean, now: number = performance.now()): RequestBatch {
    const fresh: { id: number; labels: readonly string[] }[] = [];
    const counts: number[] = [];
    let told = this.#told;
    this.#table.drain((series) => {
      const { id, labels } = series;
      // A series is counted under as soon as it is made, so that none is skipped.
      if (id > this.#told) fresh.push({ id, labels });
      told = Math.max(told, id);
      packCounts(counts, id, series.counts);
      reset(series.counts);
    }, now);
    this.#told = told;
    const evicted = evict ? this.#table.evict(now) : [];
    if (evicted.length > 0) this.#shortcuts.clear();
    const exemplars = [...this.#exemplars.values()];
    this.#exemplars.clear();
    return { fresh, counts: Float64Array.from(counts), exemplars, evicted: evicted.map(({ id }) => id) };
  }

  #exemplify(id: number, bucket: number, { trace, durationMs }: RequestRecord, nowMs: number): void {
    const { traceId, spanId } = trace ?? {};
    if (traceId === undefined || spanId === undefined) return;
    // As OpenTelemetry names them for exemplars (specification, "Prometheus and OpenMetrics Compatibility").
    const labelSet = { trace_id: traceId, span_id: spanId };
    this.#exemplars.set(id * (BUCKETS.length + 1) + bucket, {
      ...{ id, bucket },
      exemplar: { labelSet, value: sane(durationMs), timestamp: nowMs / 1_000 },
    });
  }

  #series(record: RequestRecord): Series<RequestCounts> {
    const { source, upstream } = record;
    const service = record.backend ?? record.requested;
    // A workload or identity that changes is a new object, so an old series is never taken for it.
    const key =
      `${this.#number(source.workload)} ${this.#number(source.identity)} ${this.#number(upstream?.workload)}` +
      ` ${upstream?.identity ?? ''} ${service?.namespace ?? ''}/${service?.hostname ?? ''} ${record.route ?? ''}` +
      ` ${record.protocol} ${record.status} ${record.grpcStatus ?? ''} ${record.flags.join(',')}`;
    const known = this.#shortcuts.get(key);
    if (known !== undefined) return known;
    const series = this.#table.get(requestLabelValues(record));
    if (this.#shortcuts.size >= MAX_SHORTCUTS) this.#shortcuts.clear();
    this.#shortcuts.set(key, series);
    return series;
  }

  #number(object: object | undefined): number {
    if (object === undefined) return 0;
    const known = this.#numbers.get(object);
    if (known !== undefined) return known;
    this.#numbers.set(object, this.#nextNumber);
    return this.#nextNumber++;
  }
}

/** The values of {@link REQUEST_LABELS} for a request. */
export function requestLabelValues(record: RequestRecord): string[] {
  const { source, upstream } = record;
  const grpc = record.protocol === 'grpc';
  return [
    ...peerLabelValues({ source, service: record.backend ?? record.requested, upstream }),
    grpc ? 'grpc' : 'http',
    String(responseCode(record.status)),
    grpc ? grpcStatusLabel(record.grpcStatus) : '',
    flagsLabel(record.flags),
    securityPolicy(source),
    record.route ?? NO_ROUTE,
  ];
}

/** Flags in the order in which they came, `-` for none. */
export function flagsLabel(flags: readonly string[]): string {
  return flags.length === 0 ? '-' : [...new Set(flags)].join(',');
}

/** 0 where the client got no response, as Envoy counts it. */
function responseCode(status: number): number {
  return Number.isInteger(status) && status >= 100 && status <= 999 ? status : 0;
}

/** The number where it is one of gRPC's 17; an application may send any text. */
function grpcStatusLabel(status: number | undefined): string {
  return status !== undefined && Number.isInteger(status) && status >= 0 && status <= 16
    ? String(status)
    : UNKNOWN;
}

/** @returns the place of the value's bucket */
function observe(histogram: HistogramDelta, value: number): number {
  const seen = sane(value);
  let at = 0;
  while (at < BUCKETS.length && seen > (BUCKETS[at] ?? 0)) at += 1;
  histogram.buckets[at] = (histogram.buckets[at] ?? 0) + 1;
  histogram.sum += seen;
  histogram.count += 1;
  return at;
}

/** A clock that went wrong must not poison a sum for ever. */
function sane(value: number): number {
  return Number.isFinite(value) && value > 0 ? value : 0;
}

function reset(counts: RequestCounts): void {
  counts.requests = 0;
  counts.requestMessages = 0;
  counts.responseMessages = 0;
  for (const histogram of [counts.duration, counts.requestBytes, counts.responseBytes]) {
    histogram.buckets.fill(0);
    histogram.sum = 0;
    histogram.count = 0;
  }
}

function zero(): RequestCounts {
  return {
    requests: 0,
    duration: emptyHistogram(),
    requestBytes: emptyHistogram(),
    responseBytes: emptyHistogram(),
    requestMessages: 0,
    responseMessages: 0,
  };
}

function emptyHistogram(): HistogramDelta {
  return { buckets: new Array<number>(BUCKETS.length + 1).fill(0), sum: 0, count: 0 };
}
