export type SpanAttributes = Readonly<Record<string, string | number | boolean | string[]>>;

/** A finished span as plain data: worker threads make them, the main thread hands them to OpenTelemetry. */
export interface SpanRecord {
  readonly traceId: string;
  readonly spanId: string;
  readonly parentSpanId: string | undefined;
  /** The parent is in another process. */
  readonly parentIsRemote: boolean;
  readonly tracestate: string | undefined;
  readonly name: string;
  readonly kind: 'server' | 'client';
  /** ms since the epoch. */
  readonly startMs: number;
  readonly endMs: number;
  readonly failed: boolean;
  readonly message: string | undefined;
  readonly attributes: SpanAttributes;
  /** Where it goes; undefined: to the collector of the program. */
  readonly endpoint?: string;
}

/** What became of finished spans on their way to the collector. */
export type SpanOutcome = 'exported' | 'dropped' | 'failed';
