import http from 'node:http';
import https from 'node:https';
import { OTLPTraceExporter as GrpcExporter } from '@opentelemetry/exporter-trace-otlp-grpc';
import { OTLPTraceExporter as HttpExporter } from '@opentelemetry/exporter-trace-otlp-proto';
import type { SpanExporter } from '@opentelemetry/sdk-trace-base';
import type { Collector } from './otlp-endpoint.ts';

const MAX_HTTP_CONNECTIONS = 2;

export interface ExporterOptions {
  /** For one export with its retries. */
  readonly timeoutMs: number;
  /** Batches that may be on their way at once; the exporter refuses more. */
  readonly concurrencyLimit: number;
}

/** What sends to a collector, and closes its connections. */
export interface OtlpExporter {
  readonly exporter: SpanExporter;
  /** Ends connections that the exporter's own shutdown leaves. */
  close(): void;
}

/** OpenTelemetry's exporter for a collector. It dials nothing before it has spans. */
export function otlpExporter({ protocol, url }: Collector, options: ExporterOptions): OtlpExporter {
  const shared = { url, timeoutMillis: options.timeoutMs, concurrencyLimit: options.concurrencyLimit };
  // Its shutdown closes its only connection.
  if (protocol === 'grpc') return { exporter: new GrpcExporter(shared), close: () => undefined };
  const agentOptions = { keepAlive: true, maxSockets: MAX_HTTP_CONNECTIONS, timeout: options.timeoutMs };
  const agent = url.startsWith('https:') ? new https.Agent(agentOptions) : new http.Agent(agentOptions);
  return {
    exporter: new HttpExporter({ ...shared, httpAgentOptions: () => agent }),
    close: () => agent.destroy(),
  };
}
