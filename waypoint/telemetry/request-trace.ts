import type { Headers } from '../../lib/mesh/waypoint/request.ts';
import { newSpanId, newTraceId, sampledByRatio } from '../../lib/mesh/telemetry/trace-ids.ts';
import { extractContext, injectContext, type TraceContext } from './trace-context.ts';

/** How requests are traced now; from the configuration's Settings. */
export interface TracingSettings {
  /** Whether there is a collector: without one no span is made and no header changed. */
  readonly enabled: boolean;
  /** 0 to 1, for requests that bring no decision of their own. */
  readonly ratio: number;
}

/** Where one try of a request went and what became of it. */
export interface AttemptOutcome {
  /** `ip:port` of the endpoint; undefined: none was reached for. */
  readonly address: string | undefined;
  /** Hostname of the Service tried. */
  readonly service: string | undefined;
  /** SPIFFE URI that the endpoint proved. */
  readonly identity: string | undefined;
  /** undefined: no response came. */
  readonly status: number | undefined;
  readonly grpcStatus: number | undefined;
  /** A response flag or a short code of ours; undefined when a response came. */
  readonly error: string | undefined;
}

/** One try as it is kept until the request ends. */
export interface Attempt extends AttemptOutcome {
  readonly spanId: string;
  readonly startMs: number;
  readonly endMs: number;
}

/** More tries than any policy allows; further ones are made without a span. */
const MAX_ATTEMPTS = 32;

/** The trace of one request: its ids, what the next hop is told, and its tries. */
export class RequestTrace {
  /** For the log too; undefined where there is no trace. */
  readonly traceId: string | undefined;
  /** Of the server span; undefined when the request is not recorded. */
  readonly spanId: string | undefined;
  readonly parentSpanId: string | undefined;
  readonly recorded: boolean;
  readonly tracestate: string | undefined;
  readonly attempts: Attempt[] = [];
  readonly #context: TraceContext;
  readonly #enabled: boolean;

  /** @param headers the request's, as they came */
  constructor(headers: Headers, settings: TracingSettings) {
    const context = extractContext(headers);
    this.#context = context;
    this.#enabled = settings.enabled;
    this.parentSpanId = context.parentSpanId;
    this.tracestate = context.tracestate;
    this.traceId = context.traceId ?? (settings.enabled ? newTraceId() : undefined);
    this.recorded =
      settings.enabled &&
      this.traceId !== undefined &&
      (context.sampled ?? sampledByRatio(this.traceId, settings.ratio));
    this.spanId = this.recorded ? newSpanId() : undefined;
  }

  /**
   * Begins a try: writes the trace headers that it carries and gives the function that ends it.
   *
   * @param headers of the request to the endpoint, a copy for each try
   * @param now ms since the epoch, see epochMs
   */
  attempt(headers: Headers, now: number): (outcome: AttemptOutcome, now: number) => void {
    const { traceId } = this;
    if (!this.#enabled || traceId === undefined) return ignore;
    if (!this.recorded) {
      // What the client decided passes as it came: the parent stays the last span that somebody recorded. Our own decision
      // is told, so that everybody behind us decides alike.
      if (this.#context.sampled === undefined) {
        const spanId = this.parentSpanId ?? newSpanId();
        injectContext(headers, this.#context, { traceId, spanId, sampled: false });
      }
      return ignore;
    }
    const spanId = newSpanId();
    injectContext(headers, this.#context, { traceId, spanId, sampled: true });
    let open = true;
    return (outcome, end) => {
      if (!open || this.attempts.length >= MAX_ATTEMPTS) return;
      open = false;
      this.attempts.push({ ...outcome, spanId, startMs: now, endMs: end });
    };
  }
}

function ignore(): void {
  // Not recorded.
}
