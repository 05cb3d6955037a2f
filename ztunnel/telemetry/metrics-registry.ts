import { collectDefaultMetrics, Counter, Gauge, Registry } from 'prom-client';
import type { SpanOutcome } from '../../lib/mesh/telemetry/span.ts';
import type { WorkerStatus } from '../worker/messages.ts';
import { metricsPage, type MetricsPage } from '../../lib/admin/metrics-page.ts';
import type { GateState } from '../../lib/admin/readiness.ts';
import { FLOW_LABELS } from './flow-labels.ts';
import { ObserveMetrics } from '../observe/observe-metrics.ts';
import type { MetricsBatch } from './flow-metrics.ts';

/** All metrics of the program. Istio's names where it has them (ambient-facts C12), else `loam_…`. */
export class MetricsRegistry {
  readonly #registry = new Registry();
  /** Of pods in observe mode; see ObserveFollower. */
  readonly observe = new ObserveMetrics(this.#registry);
  readonly #opened = this.#flow('istio_tcp_connections_opened_total', 'TCP connections opened');
  readonly #closed = this.#flow('istio_tcp_connections_closed_total', 'TCP connections closed');
  readonly #failed = this.#flow(
    'istio_tcp_connections_failed_total',
    'TCP connections that could not be opened, or were cut',
  );
  readonly #sent = this.#flow(
    'istio_tcp_sent_bytes_total',
    'Response bytes sent to clients of TCP connections',
  );
  readonly #received = this.#flow(
    'istio_tcp_received_bytes_total',
    'Request bytes received from clients of TCP connections',
  );
  readonly #refused = this.#counter(
    'loam_connections_refused_total',
    'Connections and tunnels refused before their ends were known',
    ['reason'],
  );
  readonly #egressRefused = this.#counter(
    'loam_egress_refused_total',
    'Connections of applications that the rules at their source refused, or cut when the rules changed',
    ['reason', 'policy'],
  );
  readonly #spans = this.#counter('loam_ztunnel_spans_total', 'Spans by what became of them', ['outcome']);
  readonly #socketsOpen = this.#gauge('istio_tcp_sockets_open', 'Open connections', ['reporter']);
  readonly #activeProxies = this.#gauge('istio_active_proxy_count_total', 'Pods that are served');
  readonly #pendingProxies = this.#gauge(
    'istio_pending_proxy_count_total',
    'Pods that could not be served yet',
  );
  readonly #proxiesStarted = this.#counter('istio_proxies_started_total', 'Pods that began to be served');
  readonly #proxiesStopped = this.#counter('istio_proxies_stopped_total', 'Pods that are served no more');
  readonly #xdsTerminations = this.#counter(
    'istio_xds_connection_terminations_total',
    'Ended connections to the control plane',
    ['reason'],
  );
  readonly #build = this.#gauge('istio_build', 'The running version', ['component', 'tag']);
  readonly #tunnels = this.#gauge('loam_hbone_tunnels', 'Open connections to other nodes and pods');
  readonly #tunnelStreams = this.#gauge('loam_hbone_streams', 'Streams in them');
  readonly #loopDelay = this.#gauge(
    'loam_worker_loop_delay_seconds',
    'Longest blocking of the connection worker in the last second',
  );
  readonly #stalled = this.#gauge('loam_worker_stalled', '1 while the connection worker does not report');
  readonly #heapUsed = this.#gauge(
    'loam_worker_heap_used_bytes',
    'Heap of the connection worker that is used',
  );
  readonly #heapLimit = this.#gauge(
    'loam_worker_heap_limit_bytes',
    'Heap that the connection worker may have',
  );
  readonly #xdsConnected = this.#gauge(
    'loam_xds_connected',
    '1 while there is a connection to the control plane',
  );
  readonly #ready = this.#gauge('loam_ready', '1 for each readiness gate that is open', ['gate']);
  readonly #certificateExpiry = this.#gauge(
    'loam_certificate_expiry_timestamp_seconds',
    'When the certificate of an identity expires',
    ['identity'],
  );

  constructor(version: string) {
    collectDefaultMetrics({ register: this.#registry });
    this.#build.set({ component: 'ztunnel', tag: version }, 1);
    this.#stalled.set(0);
  }

  text(): Promise<string> {
    return this.#registry.metrics();
  }

  /** @param accept the header of who asks */
  page(accept: string | undefined): Promise<MetricsPage> {
    return metricsPage(this.#registry, accept);
  }

  /** Adds what the connection worker counted. */
  apply(batch: MetricsBatch): void {
    for (const { labels, opened, closed, failed, sent, received } of batch.flows) {
      const values = [...labels];
      if (opened > 0) this.#opened.labels(...values).inc(opened);
      if (closed > 0) this.#closed.labels(...values).inc(closed);
      if (failed > 0) this.#failed.labels(...values).inc(failed);
      if (sent > 0) this.#sent.labels(...values).inc(sent);
      if (received > 0) this.#received.labels(...values).inc(received);
    }
    for (const labels of batch.evicted) {
      for (const counter of [this.#opened, this.#closed, this.#failed, this.#sent, this.#received]) {
        counter.remove(...labels);
      }
    }
    for (const [reason, count] of Object.entries(batch.refused)) this.#refused.inc({ reason }, count);
    for (const { reason, policy, count } of batch.egress) this.#egressRefused.inc({ reason, policy }, count);
  }

  spans(outcome: SpanOutcome, count: number): void {
    if (count > 0) this.#spans.inc({ outcome }, count);
  }

  workerStatus(status: WorkerStatus): void {
    this.#socketsOpen.set({ reporter: 'source' }, status.connections.outbound);
    this.#socketsOpen.set({ reporter: 'destination' }, status.connections.inbound);
    this.#tunnels.set(status.tunnels);
    this.#tunnelStreams.set(status.tunnelStreams);
    this.#loopDelay.set(status.maxLoopDelayMs / 1000);
    this.#heapUsed.set(status.heapUsed);
    this.#heapLimit.set(status.heapLimit);
  }

  workerStalled(stalled: boolean): void {
    this.#stalled.set(stalled ? 1 : 0);
  }

  pods(active: number, pending: number): void {
    this.#activeProxies.set(active);
    this.#pendingProxies.set(pending);
  }

  podStarted(): void {
    this.#proxiesStarted.inc();
  }

  podStopped(): void {
    this.#proxiesStopped.inc();
  }

  xdsDisconnected(): void {
    // Reasons are free text of the peer: kept to the log, so that the label stays bounded.
    this.#xdsTerminations.inc({ reason: 'Error' });
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

  #flow(name: string, help: string): Counter {
    return this.#counter(name, help, FLOW_LABELS);
  }

  #counter(name: string, help: string, labelNames: readonly string[] = []): Counter {
    return new Counter({ name, help, labelNames: [...labelNames], registers: [this.#registry] });
  }

  #gauge(name: string, help: string, labelNames: readonly string[] = []): Gauge {
    return new Gauge({ name, help, labelNames: [...labelNames], registers: [this.#registry] });
  }
}
