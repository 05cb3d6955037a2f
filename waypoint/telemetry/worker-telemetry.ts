import type { FlowRecorder } from '../../lib/flow/recorder.ts';
import type { Headers } from '../../lib/mesh/waypoint/request.ts';
import { type AccessRecord, inForms } from '../../lib/mesh/telemetry/access-log.ts';
import type { Lookup } from '../../lib/mesh/telemetry/expression.ts';
import { formsOf } from '../../lib/mesh/telemetry/lines.ts';
import type { SideTelemetry, TracingRule } from '../../lib/mesh/telemetry/model.ts';
import type { SpanRecord } from '../../lib/mesh/telemetry/span.ts';
import { connectionLine, lineLevel, requestLine } from './access-record.ts';
import { connectionAttributes, requestAttributes } from './attributes.ts';
import { tellConnection, tellRequest } from './request-flows.ts';
import { ConnectionMetrics } from './connection-metrics.ts';
import type { MetricsBatch } from './metrics-registry.ts';
import type { ConnectionRecord, RequestRecord, ServiceName } from './request-record.ts';
import { RequestMetrics } from './request-metrics.ts';
import { RequestTrace, type TracingSettings } from './request-trace.ts';
import { RuntimeMetrics } from './runtime-metrics.ts';
import { spansOf } from './span-record.ts';

/** What a worker hands to the main thread; plain data, by structured clone. */
export interface TelemetryBatch {
  readonly metrics: MetricsBatch;
  readonly access: readonly AccessRecord[];
  readonly spans: readonly SpanRecord[];
  /** Lines and spans that did not fit. */
  readonly lostAccess: number;
  readonly lostSpans: number;
}

export interface WorkerTelemetryOptions {
  /** Sends a batch to the main thread. */
  readonly post: (batch: TelemetryBatch) => void;
  /** Lines below it are not made. */
  readonly accessLevel?: AccessRecord['level'];
  /** What is said of the telemetry of a Service, and of what is for none; undefined: nothing. */
  readonly told?: (service: ServiceName | undefined) => SideTelemetry | undefined;
  /** The flow stream, where there is one. */
  readonly flows?: FlowRecorder;
}

const FLUSH_MS = 200;
const EVICT_EVERY_MS = 60_000;
const MAX_LINES = 20_000;
const MAX_SPANS = 4_096;
const RANK: Record<AccessRecord['level'], number> = { debug: 0, info: 1, warn: 2, error: 3 };

/**
 * A worker's side of telemetry: everything is collected into plain structures and leaves in batches, so that no request
 * waits for a log, a scrape or a collector. A timer runs only while something waits.
 */
export class WorkerTelemetry {
  readonly requests = new RequestMetrics();
  readonly connections = new ConnectionMetrics();
  /** For what resilience, security and the engines count themselves. */
  readonly runtime = new RuntimeMetrics();
  readonly #post: (batch: TelemetryBatch) => void;
  readonly #flows: FlowRecorder | undefined;
  readonly #told: (service: ServiceName | undefined) => SideTelemetry | undefined;
  #accessLevel: AccessRecord['level'];
  #tracing: TracingSettings = { enabled: false, ratio: 0 };
  #access: AccessRecord[] = [];
  #spans: SpanRecord[] = [];
  #lostAccess = 0;
  #lostSpans = 0;
  #timer: NodeJS.Timeout | undefined;
  #evictedAt = performance.now();

  constructor(options: WorkerTelemetryOptions) {
    this.#post = options.post;
    this.#flows = options.flows;
    this.#told = options.told ?? (() => undefined);
    this.#accessLevel = options.accessLevel ?? 'info';
  }

  set accessLevel(level: AccessRecord['level']) {
    this.#accessLevel = level;
  }

  /** Holds for requests that begin from now on. */
  set tracing(settings: TracingSettings) {
    this.#tracing = settings;
  }

  /** At the beginning of each request, with the headers as they came. */
  beginTrace(headers: Headers, service?: ServiceName): RequestTrace {
    return new RequestTrace(headers, this.#tracingOf(service));
  }

  /** Where something is said of telemetry, it is all that counts; the controller has put into it what the Gateway says. */
  #tracingOf(service: ServiceName | undefined): TracingSettings {
    const told = this.#told(service);
    if (told === undefined) return this.#tracing;
    return { enabled: told.tracing !== undefined, ratio: told.tracing?.sampling ?? 0 };
  }

  /** At the end of each request, exactly once. */
  requestEnded(record: RequestRecord): void {
    this.requests.record(record, this.#keepSpans(record));
    if (this.#flows !== undefined && this.#flows.level !== 'off') tellRequest(this.#flows, record);
    this.#line(record, requestLine, requestAttributes);
    this.wake();
  }

  /** @returns whether the request's own span was kept; those of its tries come after it */
  #keepSpans(record: RequestRecord): boolean {
    if (record.trace?.recorded !== true) return false;
    const rule = this.#told(record.requested)?.tracing;
    const hasRoom = this.#spans.length < MAX_SPANS;
    for (const span of spansOf(record)) {
      if (this.#spans.length >= MAX_SPANS) this.#lostSpans += 1;
      else this.#spans.push(rule === undefined ? span : by(rule, span));
    }
    return hasRoom;
  }

  /** The log line of an opaque TCP connection; its metrics go by {@link connections}. */
  connectionEnded(record: ConnectionRecord): void {
    if (this.#flows !== undefined && this.#flows.level !== 'off') tellConnection(this.#flows, record);
    this.#line(record, connectionLine, connectionAttributes);
    this.wake();
  }

  /** After counting in {@link runtime} or {@link connections} only: makes sure that it leaves. */
  wake(): void {
    this.#timer ??= setTimeout(() => this.flush(), FLUSH_MS).unref();
  }

  /** Hands over what waits. Call it from the worker's own regular report too, and before the worker ends. */
  flush(now: number = performance.now()): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    const evict = now - this.#evictedAt >= EVICT_EVERY_MS;
    if (evict) this.#evictedAt = now;
    const batch: TelemetryBatch = {
      metrics: {
        requests: this.requests.takeBatch(evict, now),
        connections: this.connections.takeBatch(evict, now),
        runtime: this.runtime.takeBatch(),
      },
      access: this.#access,
      spans: this.#spans,
      lostAccess: this.#lostAccess,
      lostSpans: this.#lostSpans,
    };
    this.#access = [];
    this.#spans = [];
    this.#lostAccess = 0;
    this.#lostSpans = 0;
    if (!isEmpty(batch)) this.#post(batch);
  }

  #line<R extends RequestRecord | ConnectionRecord>(
    record: R,
    make: (record: R) => AccessRecord,
    attributes: (record: R) => Lookup,
  ): void {
    if (RANK[lineLevel(record)] < RANK[this.#accessLevel]) return;
    const forms = formsOf(this.#told(record.requested), attributes(record));
    if (forms.length === 0) return;
    if (this.#access.length + forms.length > MAX_LINES) this.#lostAccess += 1;
    else this.#access.push(...inForms(make(record), forms));
  }
}

function by({ endpoint, tags }: TracingRule, span: SpanRecord): SpanRecord {
  return { ...span, endpoint, attributes: { ...tags, ...span.attributes } };
}

function isEmpty({ metrics, access, spans, lostAccess, lostSpans }: TelemetryBatch): boolean {
  const { requests, connections, runtime } = metrics;
  return (
    access.length + spans.length + lostAccess + lostSpans === 0 &&
    requests.counts.length + requests.evicted.length === 0 &&
    connections.changed.length + connections.evicted.length === 0 &&
    runtime.counters.length === 0 &&
    runtime.gauges === undefined
  );
}
