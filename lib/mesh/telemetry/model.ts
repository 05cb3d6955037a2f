/** What is told of connections and requests, as the controller told it: plain immutable data. */
import type { Expression } from './expression.ts';

export type LogFormat = 'json' | 'text';

/** Lines of one form. */
export interface LogRule {
  readonly format: LogFormat;
  /** Undefined: for everything. */
  readonly filter: Expression | undefined;
}

export interface TracingRule {
  /** `http://host:port`. */
  readonly endpoint: string;
  /** 0 to 1. */
  readonly sampling: number;
  readonly tags: Readonly<Record<string, string>>;
}

/** Of one side of a connection. */
export interface SideTelemetry {
  /** Undefined: nothing is said about it, so that everything has a line in JSON. */
  readonly logs: readonly LogRule[] | undefined;
  /** Undefined: no spans by it. */
  readonly tracing: TracingRule | undefined;
}
