import { Counter, Histogram, type Registry } from 'prom-client';
import type { Flow } from '../telemetry/flow-labels.ts';

/** What is told apart, of the pairs that talk; what is more goes under unknown ends. */
const MAX_PAIRS = 2_000;
/** A pair that was silent for so long is forgotten. */
const IDLE_MS = 600_000;
const UNKNOWN = 'unknown';
const LABELS = [
  ...(['reporter', 'source_workload', 'source_workload_namespace'] as const),
  ...(['destination_workload', 'destination_workload_namespace', 'destination_service'] as const),
];
const RTT_BUCKETS = [0.0001, 0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1, 3];

interface Pair {
  readonly values: readonly string[];
  usedMs: number;
  /** For which it has a series of its own. */
  readonly reasons: Set<string>;
}

/** What observed connections tell beyond Istio's metrics of TCP. */
export class ObserveMetrics {
  readonly #retransmits: Counter;
  readonly #segments: Counter;
  readonly #failed: Counter;
  readonly #rtt: Histogram;
  readonly #connect: Histogram;
  readonly #missed: Counter;
  readonly #pairs = new Map<string, Pair>();

  constructor(registry: Registry) {
    const registers = [registry];
    const labelNames = [...LABELS];
    this.#retransmits = new Counter({
      ...{ name: 'loam_observe_retransmitted_segments_total', registers, labelNames },
      help: 'Segments that an observed pod sent again',
    });
    this.#segments = new Counter({
      ...{ name: 'loam_observe_sent_segments_total', registers, labelNames },
      help: 'Segments that an observed pod sent',
    });
    this.#failed = new Counter({
      ...{ name: 'loam_observe_failed_connections_total', registers, labelNames: [...LABELS, 'reason'] },
      help: 'Connections of observed pods that could not be made, or were cut',
    });
    this.#rtt = new Histogram({
      ...{ name: 'loam_observe_rtt_seconds', registers, labelNames, buckets: RTT_BUCKETS },
      help: 'Smoothed round-trip time of a connection at its end',
    });
    this.#connect = new Histogram({
      ...{ name: 'loam_observe_connect_seconds', registers, labelNames, buckets: RTT_BUCKETS },
      help: 'From the first SYN to the established connection',
    });
    this.#missed = new Counter({
      ...{ name: 'loam_observe_missed_connections_total', registers },
      help: 'Connections of observed pods that were not kept account of, for lack of room',
    });
  }

  missed(count: number): void {
    this.#missed.inc(count);
  }

  segments(flow: Flow, sent: number, again: number): void {
    const { values } = this.#pair(flow);
    if (sent > 0) this.#segments.labels(...values).inc(sent);
    if (again > 0) this.#retransmits.labels(...values).inc(again);
  }

  connected(flow: Flow, ms: number): void {
    this.#connect.labels(...this.#pair(flow).values).observe(ms / 1000);
  }

  ended(flow: Flow, rttMs: number | undefined, reason: string | undefined): void {
    const { values, reasons } = this.#pair(flow);
    if (rttMs !== undefined) this.#rtt.labels(...values).observe(rttMs / 1000);
    if (reason === undefined) return;
    reasons.add(reason);
    this.#failed.labels(...values, reason).inc();
  }

  /** Forgets pairs that are idle. @param now ms that only go forward */
  tidy(now: number = performance.now()): void {
    for (const [key, { values, usedMs, reasons }] of this.#pairs) {
      if (now - usedMs < IDLE_MS) continue;
      this.#pairs.delete(key);
      for (const metric of [this.#retransmits, this.#segments, this.#rtt, this.#connect])
        metric.remove(...values);
      for (const reason of reasons) this.#failed.remove(...values, reason);
    }
  }

  #pair(flow: Flow): Pair {
    const { source, destination, service } = flow;
    const values = [
      flow.reporter,
      ...[source, destination].flatMap((end) => [end?.workloadName || UNKNOWN, end?.namespace || UNKNOWN]),
      service?.hostname || UNKNOWN,
    ];
    const key = values.join('\n');
    const known = this.#pairs.get(key);
    const isFull = known === undefined && this.#pairs.size >= MAX_PAIRS;
    return isFull
      ? this.#use(LABELS.map((label) => (label === 'reporter' ? flow.reporter : UNKNOWN)))
      : this.#use(values);
  }

  #use(values: readonly string[]): Pair {
    const key = values.join('\n');
    const pair: Pair = this.#pairs.get(key) ?? { values, usedMs: 0, reasons: new Set() };
    pair.usedMs = performance.now();
    this.#pairs.set(key, pair);
    return pair;
  }
}
