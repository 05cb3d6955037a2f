import type { SpanRecord } from '../../lib/mesh/telemetry/span.ts';
import type { TraceExport } from '../../lib/mesh/telemetry/trace-export.ts';
import type { Logger } from '../log.ts';
import type { MetricsRegistry } from './metrics-registry.ts';

/** Hands spans of connections to collectors. OpenTelemetry's SDK is loaded with the first: most nodes trace nothing. */
export class SpanExport {
  readonly #resource: Readonly<Record<string, string>>;
  readonly #metrics: MetricsRegistry;
  readonly #log: Logger;
  #export: Promise<TraceExport> | undefined;

  constructor(version: string, node: string, metrics: MetricsRegistry, log: Logger) {
    this.#resource = { 'service.name': 'ztunnel', 'service.version': version, 'k8s.node.name': node };
    this.#metrics = metrics;
    this.#log = log;
  }

  /** @param lost spans that did not fit on their way here */
  add(spans: readonly SpanRecord[], lost: number): void {
    this.#metrics.spans('dropped', lost);
    this.#export ??= this.#load();
    this.#export.then(
      (traces) => traces.add(spans),
      () => this.#metrics.spans('failed', spans.length),
    );
  }

  /** Sends what waits, within a bound of time. */
  async close(): Promise<void> {
    await (await this.#export?.catch(() => undefined))?.close();
  }

  async #load(): Promise<TraceExport> {
    const { TraceExport: Export } = await import('../../lib/mesh/telemetry/trace-export.ts');
    return new Export({
      ...{ resource: this.#resource, scope: 'loam.ztunnel' },
      count: (outcome, spans) => this.#metrics.spans(outcome, spans),
      onState: (working, error) => {
        if (working) this.#log.info('spans reach the collector again');
        else this.#log.warn({ error }, 'spans do not reach the collector; they are dropped and counted');
      },
    });
  }
}
