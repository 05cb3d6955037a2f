import type { SpanOutcome } from '../../lib/mesh/telemetry/span.ts';
import { collectDefaultMetrics, Counter, Gauge, Registry } from 'prom-client';
import { metricsPage, type MetricsPage } from '../../lib/admin/metrics-page.ts';
import type { GateState } from '../../lib/admin/readiness.ts';
import { addExemplar, addTo, BucketHistogram, type HistogramState } from './bucket-histogram.ts';
import { CONNECTION_LABELS, type ConnectionCounts } from './connection-metrics.ts';
import { unpackCounts, type RequestBatch } from './request-batch.ts';
import { BUCKETS, REQUEST_LABELS } from './request-metrics.ts';
import {
  RUNTIME_COUNTERS,
  RUNTIME_GAUGES,
  type RuntimeBatch,
  type RuntimeGauge,
  type RuntimeMetric,
  type RuntimeValue,
} from './runtime-metrics.ts';
import { labelKey, type SeriesBatch } from './series-table.ts';

/** What one worker counted since its last batch. */
export interface MetricsBatch {
  readonly requests: RequestBatch;
  readonly connections: SeriesBatch<ConnectionCounts>;
  readonly runtime: RuntimeBatch;
}

/** How long the counts of a worker that ended are shown; Prometheus has read them by then. */
const ORPHAN_MS = 600_000;

/** All metrics of the program. Istio's names where it has them (ambient-facts C12), else `loam_...`; see docs/metrics.md. */
export class MetricsRegistry {
  readonly #registry = new Registry();
  readonly #requests = this.#counter('istio_requests_total', 'Requests', REQUEST_LABELS);
  readonly #duration = this.#histogram(
    'istio_request_duration_milliseconds',
    'Time from the first byte of a request to the last of its response',
  );
  readonly #requestBytes = this.#histogram('istio_request_bytes', 'Size of request bodies');
  readonly #responseBytes = this.#histogram('istio_response_bytes', 'Size of response bodies');
  readonly #requestMessages = this.#counter(
    'istio_request_messages_total',
    'gRPC messages from clients',
    REQUEST_LABELS,
  );
  readonly #responseMessages = this.#counter(
    'istio_response_messages_total',
    'gRPC messages to clients',
    REQUEST_LABELS,
  );
  readonly #opened = this.#tcp('istio_tcp_connections_opened_total', 'Opaque TCP connections opened');
  readonly #closed = this.#tcp('istio_tcp_connections_closed_total', 'Opaque TCP connections closed');
  readonly #failed = this.#tcp(
    'istio_tcp_connections_failed_total',
    'Opaque TCP connections that could not be opened, or were cut',
  );
  readonly #sent = this.#tcp(
    'istio_tcp_sent_bytes_total',
    'Response bytes sent to clients of TCP connections',
  );
  readonly #received = this.#tcp(
    'istio_tcp_received_bytes_total',
    'Request bytes received from clients of TCP connections',
  );
  readonly #runtimeCounters = mapMetrics(RUNTIME_COUNTERS, (m) => this.#counter(m.name, m.help, m.labels));
  readonly #runtimeGauges = mapMetrics(RUNTIME_GAUGES, (m) => this.#gauge(m.name, m.help, m.labels));
  readonly #build = this.#gauge('istio_build', 'The running version', ['component', 'tag']);
  readonly #ready = this.#gauge('loam_ready', '1 for each readiness gate that is open', ['gate']);
  readonly #loopDelay = this.#gauge(
    'loam_worker_loop_delay_seconds',
    'Longest blocking of a worker in the last second',
    ['worker'],
  );
  readonly #stalled = this.#gauge('loam_worker_stalled', '1 while a worker does not report', ['worker']);
  readonly #heapUsed = this.#gauge('loam_worker_heap_used_bytes', 'Heap of a worker that is used', [
    'worker',
  ]);
  readonly #heapLimit = this.#gauge('loam_worker_heap_limit_bytes', 'Heap that a worker may have', [
    'worker',
  ]);
  readonly #xdsConnected = this.#gauge(
    'loam_xds_connected',
    '1 while there is a connection to the control plane',
  );
  readonly #certificateExpiry = this.#gauge(
    'loam_certificate_expiry_timestamp_seconds',
    'When the certificate of an identity expires',
    ['identity'],
  );
  readonly #xdsTerminations = this.#counter(
    'istio_xds_connection_terminations_total',
    'Ended connections to the control plane',
    ['reason'],
  );
  readonly #configResources = this.#gauge(
    'loam_waypoint_config_resources',
    'Resources of the configuration in force',
    ['kind'],
  );
  readonly #configRejections = this.#counter(
    'loam_waypoint_config_rejections_total',
    'Resources that were refused (NACK); the last good one stays in force',
    ['kind'],
  );
  readonly #jwksKeys = this.#gauge('loam_waypoint_jwks_keys', 'Usable keys of a token issuer', ['issuer']);
  readonly #jwksStale = this.#gauge(
    'loam_waypoint_jwks_stale',
    '1 while the keys of an issuer could not be refreshed in time',
    ['issuer'],
  );
  readonly #spans = this.#counter('loam_waypoint_spans_total', 'Spans by what became of them', ['outcome']);
  readonly #accessLost = this.#counter(
    'loam_waypoint_access_log_lines_lost_total',
    'Lines of the access log that a worker dropped because the main thread did not keep up',
  );
  /** Which workers still count under a label set: a series goes when none does. */
  readonly #users = new Map<string, Set<string>>();
  /** Series whose last worker ended, with when they go: what it counted last is still to be read. */
  readonly #orphans = new Map<string, number>();
  /** Of each worker, its label sets of requests by the numbers that it gave them. */
  readonly #requestSeries = new Map<string, Map<number, RequestSeries>>();
  readonly #workerGauges = new Map<string, readonly RuntimeValue<RuntimeGauge>[]>();

  constructor(version: string) {
    collectDefaultMetrics({ register: this.#registry });
    this.#build.set({ component: 'waypoint', tag: version }, 1);
  }

  async text(now: number = performance.now()): Promise<string> {
    return (await this.page(undefined, now)).body;
  }

  /** @param accept the header of who asks */
  page(accept: string | undefined, now: number = performance.now()): Promise<MetricsPage> {
    this.#sumGauges();
    for (const [key, until] of this.#orphans) if (now > until) this.#forget(key);
    return metricsPage(this.#registry, accept);
  }

  /** Names and labels of all metrics of ours, for the test that compares them with the reference. */
  async describe(): Promise<{ name: string; labels: readonly string[] }[]> {
    const metrics = await this.#registry.getMetricsAsJSON();
    const ours = metrics.map(({ name }) => name).filter((name) => /^(istio|loam)_/.test(name));
    return ours.map((name) => {
      const metric = this.#registry.getSingleMetric(name) as unknown as { labelNames: readonly string[] };
      return { name, labels: metric.labelNames };
    });
  }

  /**
   * Adds what a worker counted.
   *
   * @param worker tells workers apart; a replaced worker comes with another one
   */
  apply(worker: string, batch: MetricsBatch): void {
    this.#applyRequests(worker, batch.requests);
    for (const { labels, counts } of batch.connections.changed) {
      this.#use('connection', labels, worker);
      const values = [...labels];
      if (counts.opened > 0) this.#opened.labels(...values).inc(counts.opened);
      if (counts.closed > 0) this.#closed.labels(...values).inc(counts.closed);
      if (counts.failed > 0) this.#failed.labels(...values).inc(counts.failed);
      if (counts.sent > 0) this.#sent.labels(...values).inc(counts.sent);
      if (counts.received > 0) this.#received.labels(...values).inc(counts.received);
    }
    for (const labels of batch.connections.evicted) this.#release('connection', labels, worker);
    for (const { metric, labels, value } of batch.runtime.counters) {
      this.#runtimeCounters[metric].labels(...labels).inc(value);
    }
    if (batch.runtime.gauges !== undefined) this.#workerGauges.set(worker, batch.runtime.gauges);
  }

  /** A worker that ended: its gauges go, and what it counted stays for a while. */
  workerGone(worker: string, now: number = performance.now()): void {
    this.#workerGauges.delete(worker);
    this.#requestSeries.delete(worker);
    this.#loopDelay.remove({ worker });
    this.#stalled.remove({ worker });
    this.#heapUsed.remove({ worker });
    this.#heapLimit.remove({ worker });
    for (const [key, users] of this.#users) {
      if (users.delete(worker) && users.size === 0) this.#orphans.set(key, now + ORPHAN_MS);
    }
  }

  workerStatus(worker: string, status: WorkerFigures): void {
    this.#loopDelay.set({ worker }, status.maxLoopDelayMs / 1000);
    this.#heapUsed.set({ worker }, status.heapUsed);
    this.#heapLimit.set({ worker }, status.heapLimit);
    this.#stalled.set({ worker }, 0);
  }

  workerStalled(worker: string): void {
    this.#stalled.set({ worker }, 1);
  }

  xdsConnected(connected: boolean): void {
    this.#xdsConnected.set(connected ? 1 : 0);
  }

  gates(gates: readonly GateState[]): void {
    for (const { name, ready } of gates) this.#ready.set({ gate: name }, ready ? 1 : 0);
  }

  certificateExpiry(identity: string, notAfterSeconds: number | undefined): void {
    if (notAfterSeconds === undefined) this.#certificateExpiry.remove({ identity });
    else this.#certificateExpiry.set({ identity }, notAfterSeconds);
  }

  xdsDisconnected(): void {
    // Reasons are free text of the peer: kept to the log, so that the label stays bounded.
    this.#xdsTerminations.inc({ reason: 'Error' });
  }

  /** @param kind a case of the `Resource` message: service, route, authorization, authentication, traffic_policy, ... */
  configResources(kind: string, count: number): void {
    this.#configResources.set({ kind }, count);
  }

  configRejected(kind: string): void {
    this.#configRejections.inc({ kind });
  }

  /** State of an issuer's keys; undefined: the issuer is no longer configured. */
  jwks(issuer: string, state: { readonly keys: number; readonly stale: boolean } | undefined): void {
    if (state === undefined) {
      this.#jwksKeys.remove({ issuer });
      this.#jwksStale.remove({ issuer });
      return;
    }
    this.#jwksKeys.set({ issuer }, state.keys);
    this.#jwksStale.set({ issuer }, state.stale ? 1 : 0);
  }

  spans(outcome: SpanOutcome, count: number): void {
    this.#spans.inc({ outcome }, count);
  }

  accessLinesLost(count: number): void {
    this.#accessLost.inc(count);
  }

  #applyRequests(worker: string, { fresh, counts: packed, exemplars, evicted }: RequestBatch): void {
    const series = this.#requestSeries.get(worker) ?? new Map<number, RequestSeries>();
    this.#requestSeries.set(worker, series);
    for (const { id, labels } of fresh) {
      this.#use('request', labels, worker);
      series.set(id, {
        labels,
        requests: this.#requests.labels(...labels),
        duration: this.#duration.state(labels),
        requestBytes: this.#requestBytes.state(labels),
        responseBytes: this.#responseBytes.state(labels),
      });
    }
    for (const { id, counts } of unpackCounts(packed)) {
      const known = series.get(id);
      if (known === undefined) continue;
      const { labels } = known;
      known.requests.inc(counts.requests);
      addTo(known.duration, counts.duration);
      addTo(known.requestBytes, counts.requestBytes);
      addTo(known.responseBytes, counts.responseBytes);
      if (counts.requestMessages > 0) this.#requestMessages.labels(...labels).inc(counts.requestMessages);
      if (counts.responseMessages > 0) this.#responseMessages.labels(...labels).inc(counts.responseMessages);
    }
    for (const { id, bucket, exemplar } of exemplars) {
      const known = series.get(id);
      if (known !== undefined) addExemplar(known.duration, bucket, exemplar);
    }
    for (const id of evicted) {
      const known = series.get(id);
      series.delete(id);
      if (known !== undefined) this.#release('request', known.labels, worker);
    }
  }

  #use(kind: SeriesKind, labels: readonly string[], worker: string): void {
    const key = `${kind}\n${labelKey(labels)}`;
    const users = this.#users.get(key);
    if (users === undefined) this.#users.set(key, new Set([worker]));
    else users.add(worker);
    this.#orphans.delete(key);
  }

  #release(kind: SeriesKind, labels: readonly string[], worker: string): void {
    const key = `${kind}\n${labelKey(labels)}`;
    const users = this.#users.get(key);
    if (users?.delete(worker) === true && users.size === 0) this.#forget(key);
  }

  #forget(key: string): void {
    this.#users.delete(key);
    this.#orphans.delete(key);
    const [kind, ...labels] = key.split('\n');
    if (kind === 'connection') {
      for (const counter of [this.#opened, this.#closed, this.#failed, this.#sent, this.#received]) {
        counter.remove(...labels);
      }
      return;
    }
    for (const counter of [this.#requests, this.#requestMessages, this.#responseMessages]) {
      counter.remove(...labels);
    }
    for (const histogram of [this.#duration, this.#requestBytes, this.#responseBytes])
      histogram.forget(labels);
  }

  #sumGauges(): void {
    for (const [name, gauge] of Object.entries(this.#runtimeGauges)) {
      gauge.reset();
      // A gauge with labels shows only what there is; one without is 0 until somebody says otherwise.
      if (RUNTIME_GAUGES[name as RuntimeGauge].labels.length === 0) gauge.set(0);
    }
    for (const values of this.#workerGauges.values()) {
      for (const { metric, labels, value } of values)
        this.#runtimeGauges[metric].labels(...labels).inc(value);
    }
  }

  #tcp(name: string, help: string): Counter {
    return this.#counter(name, help, CONNECTION_LABELS);
  }

  #histogram(name: string, help: string): BucketHistogram {
    return new BucketHistogram({
      name,
      help,
      labelNames: REQUEST_LABELS,
      bounds: BUCKETS,
      registers: [this.#registry],
    });
  }

  #counter(name: string, help: string, labelNames: readonly string[] = []): Counter {
    return new Counter({ name, help, labelNames: [...labelNames], registers: [this.#registry] });
  }

  #gauge(name: string, help: string, labelNames: readonly string[] = []): Gauge {
    return new Gauge({ name, help, labelNames: [...labelNames], registers: [this.#registry] });
  }
}

/** What a worker tells of itself. */
interface WorkerFigures {
  readonly maxLoopDelayMs: number;
  /** Bytes. */
  readonly heapUsed: number;
  readonly heapLimit: number;
}

type SeriesKind = 'request' | 'connection';

/** Where the counts of one label set go, found once. */
interface RequestSeries {
  readonly labels: readonly string[];
  readonly requests: Counter.Internal;
  readonly duration: HistogramState;
  readonly requestBytes: HistogramState;
  readonly responseBytes: HistogramState;
}

function mapMetrics<K extends string, V>(
  metrics: Readonly<Record<K, RuntimeMetric>>,
  make: (metric: RuntimeMetric) => V,
): Record<K, V> {
  const entries = Object.entries<RuntimeMetric>(metrics).map(([name, metric]) => [name, make(metric)]);
  return Object.fromEntries(entries) as Record<K, V>;
}
