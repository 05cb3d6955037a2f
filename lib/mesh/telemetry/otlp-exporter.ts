import http from 'node:http';
import https from 'node:https';
import { OTLPTraceExporter as GrpcExporter } from '@opentelemetry/exporter-trace-otlp-grpc';
import { OTLPTraceExporter as HttpExporter } from '@opentelemetry/exporter-trace-otlp-proto';
import type { SpanExporter } from '@opentelemetry/sdk-trace-base';

const MAX_HTTP_CONNECTIONS = 2;
const GRPC_SCHEMES: Readonly<Record<string, 'http' | 'https'>> = { 'grpc:': 'http', 'grpcs:': 'https' };

/** Where spans go, and in which of OTLP's two protocols. */
export interface Collector {
  readonly protocol: 'http' | 'grpc';
  /** For the exporter: http or https, with a path where the protocol has one. */
  readonly url: string;
}

/**
 * Reads where a collector is.
 *
 * @param endpoint `http://host:port` or `https://...`, with or without the path `/v1/traces`, for OTLP/HTTP; `grpc://host:port` or
 * `grpcs://host:port` for OTLP/gRPC, without and with TLS
 * @throws Error when it is none of these, naming it and what is allowed
 */
export function collectorOf(endpoint: string): Collector {
  const url = URL.parse(endpoint);
  if (url !== null && ['http:', 'https:'].includes(url.protocol)) {
    // OTLP/HTTP's path is added where the configuration gives none (OTLP specification, "OTLP/HTTP Request").
    if (url.pathname === '/' || url.pathname === '') url.pathname = '/v1/traces';
    return { protocol: 'http', url: url.href };
  }
  // The SDK tells by http and https alone whether gRPC has TLS.
  const tls = url === null ? undefined : GRPC_SCHEMES[url.protocol];
  if (url !== null && tls !== undefined && url.port !== '' && ['', '/'].includes(url.pathname))
    return { protocol: 'grpc', url: `${tls}://${url.host}` };
  throw new Error(
    `tracing endpoint ${JSON.stringify(endpoint)} is not of the form http://host:port, https://host:port, grpc://host:port or grpcs://host:port`,
  );
}

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
