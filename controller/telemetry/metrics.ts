import { collectDefaultMetrics, Counter, Gauge, Histogram, Registry } from 'prom-client';
import { metricsPage, type MetricsPage } from '../../lib/admin/metrics-page.ts';
import type { SourceGate } from '../sources/source.ts';

const COMPILE_BUCKETS_S = [0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5];

/** What is looked at only when somebody asks for the metrics. */
export interface MetricsView {
  readonly gates: () => readonly SourceGate[];
  /** The kind of each client that has a stream. */
  readonly clients: () => readonly ('node' | 'gateway')[];
  readonly generation: () => number;
}

/** All metrics of the controller; docs/metrics-controller.md says what they mean. */
export class ControllerMetrics {
  readonly #registry = new Registry();
  readonly pushes = this.#counter('loam_controller_xds_pushes_total', 'Responses sent, by type', ['type']);
  readonly refusals = this.#counter(
    'loam_controller_xds_refusals_total',
    'Responses that a client refused (NACK), by type',
    ['type'],
  );
  readonly authentications = this.#counter(
    'loam_controller_authentications_total',
    'Calls by whom their credentials proved, or why nobody',
    ['result'],
  );
  readonly tokenReviews = this.#counter(
    'loam_controller_token_reviews_total',
    'TokenReviews by what the API server said',
    ['result'],
  );
  readonly certificates = this.#counter(
    'loam_controller_certificate_requests_total',
    'Certificate requests by result (gRPC status)',
    ['result'],
  );
  readonly writes = this.#counter(
    'loam_controller_writes_total',
    'Writes to the Kubernetes API by what they are for and what became of them',
    ['what', 'result'],
  );
  readonly compile = new Histogram({
    name: 'loam_controller_compile_seconds',
    help: 'Time to compile the mesh and to compare it with the state before',
    buckets: COMPILE_BUCKETS_S,
    registers: [this.#registry],
  });
  readonly leader = this.#gauge('loam_controller_leader', '1 while this replica writes for all', []);
  readonly authorityExpiry = this.#gauge(
    'loam_controller_authority_expiry_timestamp_seconds',
    'When the certificate expires that signs',
    [],
  );

  constructor(version: string) {
    collectDefaultMetrics({ register: this.#registry });
    this.#gauge('istio_build', 'The running version', ['component', 'tag']).set(
      { component: 'controller', tag: version },
      1,
    );
  }

  /** Adds what is asked for anew at each reading. */
  observe({ gates, clients, generation }: MetricsView): void {
    const collected = (
      name: string,
      help: string,
      labelNames: readonly string[],
      collect: (g: Gauge) => void,
    ) =>
      new Gauge({
        ...{ name, help, labelNames: [...labelNames], registers: [this.#registry] },
        collect() {
          this.reset();
          collect(this);
        },
      });
    collected('loam_ready', '1 for each readiness gate that is open', ['gate'], (gauge) => {
      for (const { name, ready } of gates()) gauge.set({ gate: name }, ready ? 1 : 0);
    });
    collected('loam_controller_xds_clients', 'Clients that have a stream', ['kind'], (gauge) => {
      const all = clients();
      for (const kind of ['node', 'gateway']) gauge.set({ kind }, all.filter((each) => each === kind).length);
    });
    collected('loam_controller_generation', 'Number of the state that is served', [], (gauge) =>
      gauge.set(generation()),
    );
  }

  text(): Promise<string> {
    return this.#registry.metrics();
  }

  /** @param accept the header of who asks */
  page(accept: string | undefined): Promise<MetricsPage> {
    return metricsPage(this.#registry, accept);
  }

  #counter<L extends string>(name: string, help: string, labelNames: readonly L[]): Counter<L> {
    return new Counter({ name, help, labelNames: [...labelNames], registers: [this.#registry] });
  }

  #gauge<L extends string>(name: string, help: string, labelNames: readonly L[]): Gauge<L> {
    return new Gauge({ name, help, labelNames: [...labelNames], registers: [this.#registry] });
  }
}
