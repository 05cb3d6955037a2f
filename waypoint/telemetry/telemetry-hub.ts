import type { Logger } from 'pino';
import { AccessLog } from '../../lib/mesh/telemetry/access-log.ts';
import { MetricsRegistry } from './metrics-registry.ts';
import { TraceExport } from '../../lib/mesh/telemetry/trace-export.ts';
import type { TelemetryBatch } from './worker-telemetry.ts';

/** What of the configuration's Settings concerns the hub. */
export interface TracingConfig {
  /** OTLP collector, as `collectorOf` reads it; empty: none. */
  readonly otlpEndpoint: string;
  /** 0 to 1. */
  readonly sampling: number;
}

export interface TelemetryHubOptions {
  readonly log: Logger;
  readonly version: string;
  /** `namespace/name`. */
  readonly gateway: string;
  /** Of the node; empty where there is none. */
  readonly node: string;
}

/** The main thread's side of telemetry: metrics, access log and traces of all workers. */
export class TelemetryHub {
  readonly metrics: MetricsRegistry;
  readonly #log: Logger;
  readonly #access: AccessLog;
  readonly #traces: TraceExport;

  constructor(options: TelemetryHubOptions) {
    const { log, version, gateway, node } = options;
    this.metrics = new MetricsRegistry(version);
    this.#log = log;
    this.#access = new AccessLog(log);
    const [namespace = '', name = ''] = gateway.split('/');
    this.#traces = new TraceExport({
      resource: {
        // As Istio's proxies name themselves.
        'service.name': `${name}.${namespace}`,
        'service.namespace': namespace,
        'service.version': version,
        'k8s.namespace.name': namespace,
        ...(node !== '' && { 'k8s.node.name': node }),
      },
      scope: 'loam.waypoint',
      count: (outcome, spans) => this.metrics.spans(outcome, spans),
      onState: (working, error) => {
        if (working) this.#log.info('spans reach the collector again');
        else this.#log.warn({ error }, 'spans do not reach the collector; they are dropped and counted');
      },
    });
  }

  /** Takes over what a worker handed over. */
  apply(worker: string, batch: TelemetryBatch): void {
    this.metrics.apply(worker, batch.metrics);
    for (const record of batch.access) this.#access.write(record);
    this.#traces.add(batch.spans);
    if (batch.lostSpans > 0) this.metrics.spans('dropped', batch.lostSpans);
    if (batch.lostAccess > 0) {
      this.metrics.accessLinesLost(batch.lostAccess);
      this.#log.warn({ lost: batch.lostAccess }, 'access log lines were lost');
    }
  }

  /** @throws Error when the endpoint is no URL; the former one stays in force */
  configure(tracing: TracingConfig): void {
    this.#traces.setEndpoint(tracing.otlpEndpoint);
  }

  /** Sends what waits, within a bound of time. */
  async close(): Promise<void> {
    await this.#traces.close();
  }
}
