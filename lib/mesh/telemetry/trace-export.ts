import { SpanKind, SpanStatusCode, TraceFlags, type SpanContext } from '@opentelemetry/api';
import { ExportResultCode, hrTimeDuration, TraceState, type ExportResult } from '@opentelemetry/core';
import { resourceFromAttributes, type Resource } from '@opentelemetry/resources';
import { BatchSpanProcessor, type ReadableSpan, type SpanExporter } from '@opentelemetry/sdk-trace-base';
import { collectorOf, type Collector } from './otlp-endpoint.ts';
import { otlpExporter, type OtlpExporter } from './otlp-exporter.ts';
import type { SpanOutcome, SpanRecord } from './span.ts';

/** Spans that wait or are on their way at once; beyond it they are dropped and counted. */
const MAX_PENDING = 4_096;
const MAX_BATCH = 512;
/** Collectors beside the program's own; of more, the one that was used first is let go. */
const MAX_OTHERS = 8;
const BATCH_DELAY_MS = 1_000;
/** For one export with its retries; a collector that hangs costs the spans, and nothing else. */
const EXPORT_TIMEOUT_MS = 10_000;
/** At most so long a collector is waited for when the program ends or the endpoint changes. */
const CLOSE_TIMEOUT_MS = 3_000;

export interface TraceExportOptions {
  /** What the spans' resource says of this program: `service.name`, `k8s.namespace.name` and so on. */
  readonly resource: Readonly<Record<string, string>>;
  /** Who makes the spans: `loam.waypoint`. */
  readonly scope?: string;
  /** Counts what became of spans. */
  readonly count: (outcome: SpanOutcome, spans: number) => void;
  /** Told when exporting begins to fail and when it works again, once each. */
  readonly onState?: (working: boolean, error: string | undefined) => void;
  readonly maxPending?: number;
  readonly batchDelayMs?: number;
}

/** Hands spans to an OTLP collector by OpenTelemetry's SDK. Main thread only. Never throws on account of a collector. */
export class TraceExport {
  readonly #options: TraceExportOptions;
  readonly #resource: Resource;
  /** Of spans that say themselves where they go, by that. */
  readonly #others = new Map<string, Pipeline>();
  #pipeline: Pipeline | undefined;
  #endpoint = '';

  constructor(options: TraceExportOptions) {
    this.#options = options;
    this.#resource = resourceFromAttributes({ ...options.resource });
  }

  /**
   * Says where the collector is; the same again changes nothing. What waits for the former one is still sent to it.
   *
   * @param endpoint as `collectorOf` reads it; empty: no tracing
   * @throws Error when it is not usable, naming it; the former one stays
   */
  setEndpoint(endpoint: string): void {
    if (endpoint === this.#endpoint) return;
    const collector = endpoint === '' ? undefined : collectorOf(endpoint);
    const former = this.#pipeline;
    this.#pipeline = collector === undefined ? undefined : new Pipeline(collector, this.#options);
    this.#endpoint = endpoint;
    void former?.close();
  }

  /** Takes finished spans; without a collector they are forgotten. */
  add(spans: readonly SpanRecord[]): void {
    const scope = this.#options.scope ?? 'loam';
    for (const span of spans) {
      try {
        this.#pipelineOf(span)?.add(readable(span, this.#resource, scope));
      } catch {
        // Where it is to go cannot be used: that is no reason to end what carries connections.
        this.#options.count('failed', 1);
      }
    }
  }

  #pipelineOf({ endpoint }: SpanRecord): Pipeline | undefined {
    if (endpoint === undefined || endpoint === this.#endpoint) return this.#pipeline;
    const known = this.#others.get(endpoint);
    if (known !== undefined) return known;
    const collector = collectorOf(endpoint);
    const [oldest] = this.#others;
    if (oldest !== undefined && this.#others.size >= MAX_OTHERS) {
      this.#others.delete(oldest[0]);
      void oldest[1].close();
    }
    const made = new Pipeline(collector, this.#options);
    this.#others.set(endpoint, made);
    return made;
  }

  /** Sends what waits, within a bound of time, and closes its connections. */
  async close(): Promise<void> {
    const own = this.#pipeline === undefined ? [] : [this.#pipeline];
    const all = [...own, ...this.#others.values()];
    this.#pipeline = undefined;
    this.#others.clear();
    this.#endpoint = '';
    await Promise.all(all.map((pipeline) => pipeline.close()));
  }
}

/** One collector: a processor with its queue, an exporter, and its connections. */
class Pipeline {
  readonly #processor: BatchSpanProcessor;
  readonly #otlp: OtlpExporter;
  readonly #options: TraceExportOptions;
  readonly #maxPending: number;
  #pending = 0;
  #working = true;

  constructor(collector: Collector, options: TraceExportOptions) {
    this.#options = options;
    this.#maxPending = options.maxPending ?? MAX_PENDING;
    this.#otlp = otlpExporter(collector, {
      timeoutMs: EXPORT_TIMEOUT_MS,
      // At a close the processor hands over all batches at once, and the exporter refuses what goes beyond this; its
      // connections share them out.
      concurrencyLimit: Math.ceil(MAX_PENDING / MAX_BATCH) + 1,
    });
    this.#processor = new BatchSpanProcessor(this.#counted(this.#otlp.exporter), {
      maxQueueSize: this.#maxPending,
      maxExportBatchSize: Math.min(MAX_BATCH, this.#maxPending),
      scheduledDelayMillis: options.batchDelayMs ?? BATCH_DELAY_MS,
      exportTimeoutMillis: EXPORT_TIMEOUT_MS + 1_000,
    });
  }

  add(span: ReadableSpan): void {
    // The processor drops silently when its queue is full; with this bound it never is, and each drop is counted.
    if (this.#pending >= this.#maxPending) {
      this.#options.count('dropped', 1);
      return;
    }
    this.#pending += 1;
    this.#processor.onEnd(span);
  }

  async close(): Promise<void> {
    let timer: NodeJS.Timeout | undefined;
    const bound = new Promise<void>((resolve) => {
      timer = setTimeout(resolve, CLOSE_TIMEOUT_MS);
    });
    // A collector that does not answer was counted already.
    await Promise.race([this.#processor.shutdown().catch(() => undefined), bound]);
    clearTimeout(timer);
    this.#otlp.close();
  }

  #counted(exporter: SpanExporter): SpanExporter {
    return {
      export: (spans, done) => {
        exporter.export(spans, (result) => {
          this.#pending -= spans.length;
          this.#report(result, spans.length);
          done(result);
        });
      },
      forceFlush: () => exporter.forceFlush?.() ?? Promise.resolve(),
      shutdown: () => exporter.shutdown(),
    };
  }

  #report(result: ExportResult, spans: number): void {
    const ok = result.code === ExportResultCode.SUCCESS;
    this.#options.count(ok ? 'exported' : 'failed', spans);
    if (ok === this.#working) return;
    this.#working = ok;
    this.#options.onState?.(ok, ok ? undefined : (result.error?.message ?? 'unknown'));
  }
}

function readable(span: SpanRecord, resource: Resource, scope: string): ReadableSpan {
  const context: SpanContext = {
    traceId: span.traceId,
    spanId: span.spanId,
    traceFlags: TraceFlags.SAMPLED,
    ...(span.tracestate !== undefined && { traceState: new TraceState(span.tracestate) }),
  };
  const startTime = hrTime(span.startMs);
  const endTime = hrTime(Math.max(span.startMs, span.endMs));
  return {
    name: span.name,
    kind: span.kind === 'server' ? SpanKind.SERVER : SpanKind.CLIENT,
    spanContext: () => context,
    ...(span.parentSpanId !== undefined && {
      parentSpanContext: {
        traceId: span.traceId,
        spanId: span.parentSpanId,
        traceFlags: TraceFlags.SAMPLED,
        isRemote: span.parentIsRemote,
      },
    }),
    startTime,
    endTime,
    duration: hrTimeDuration(startTime, endTime),
    status: {
      code: span.failed ? SpanStatusCode.ERROR : SpanStatusCode.UNSET,
      ...(span.message !== undefined && { message: span.message }),
    },
    attributes: span.attributes,
    links: [],
    events: [],
    ended: true,
    resource,
    instrumentationScope: { name: scope },
    droppedAttributesCount: 0,
    droppedEventsCount: 0,
    droppedLinksCount: 0,
  };
}

function hrTime(ms: number): [number, number] {
  const seconds = Math.floor(ms / 1_000);
  return [seconds, Math.min(999_999_999, Math.round((ms - seconds * 1_000) * 1e6))];
}
