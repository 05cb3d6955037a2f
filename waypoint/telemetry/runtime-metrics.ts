/** A metric of ours that workers feed. Every label value comes from the configuration or from a list of our own. */
export interface RuntimeMetric {
  readonly name: string;
  readonly help: string;
  readonly labels: readonly string[];
}

/** Counters that workers feed; `service` is `namespace/hostname`. */
export const RUNTIME_COUNTERS = {
  retries: {
    name: 'loam_waypoint_retries_total',
    help: 'Retries by what became of them: success, failure, over_budget (not tried), not_replayable (not tried)',
    labels: ['service', 'outcome'],
  },
  ejections: {
    name: 'loam_waypoint_ejections_total',
    help: 'Endpoints taken out of balancing by outlier detection',
    labels: ['service', 'reason'],
  },
  circuitBreaker: {
    name: 'loam_waypoint_circuit_breaker_refusals_total',
    help: 'Requests refused by a circuit breaker, by the bound that was reached',
    labels: ['service', 'bound'],
  },
  rateLimited: {
    name: 'loam_waypoint_rate_limited_total',
    help: 'Requests refused by a rate limit',
    labels: ['service', 'policy'],
  },
  fallbacks: {
    name: 'loam_waypoint_fallbacks_total',
    help: 'Requests sent to a fallback Service, by the Service that they were meant for',
    labels: ['service', 'fallback'],
  },
  faults: {
    name: 'loam_waypoint_faults_injected_total',
    help: 'Delays and aborts injected',
    labels: ['service', 'kind'],
  },
  mirrored: {
    name: 'loam_waypoint_mirrored_requests_total',
    help: 'Copies of requests sent to a mirror: sent, dropped',
    labels: ['service', 'outcome'],
  },
  denied: {
    name: 'loam_waypoint_denied_requests_total',
    help: 'Requests denied, by the policy that did',
    labels: ['service', 'policy'],
  },
  dryRun: {
    name: 'loam_waypoint_dry_run_total',
    help: 'What policies in dry-run mode would have done',
    labels: ['policy', 'action'],
  },
  protocolErrors: {
    name: 'loam_waypoint_protocol_errors_total',
    help: 'Streams and connections of clients ended because they broke the protocol or a limit',
    labels: ['reason'],
  },
  refusedTunnels: {
    name: 'loam_waypoint_tunnels_refused_total',
    help: 'HBONE tunnels refused before a request was read',
    labels: ['reason'],
  },
  jwksFetches: {
    name: 'loam_waypoint_jwks_fetches_total',
    help: 'Fetches of token keys: success, failure',
    labels: ['issuer', 'outcome'],
  },
} as const satisfies Record<string, RuntimeMetric>;

/** Gauges that workers feed; the values of all workers are added up. */
export const RUNTIME_GAUGES = {
  activeRequests: {
    name: 'loam_waypoint_active_requests',
    help: 'Requests under way',
    labels: [],
  },
  activeConnections: {
    name: 'loam_waypoint_active_connections',
    help: 'Opaque TCP connections and upgraded streams under way',
    labels: [],
  },
  downstreamTunnels: {
    name: 'loam_waypoint_downstream_tunnels',
    help: 'Open HBONE connections of clients',
    labels: [],
  },
  upstreamConnections: {
    name: 'loam_waypoint_upstream_connections',
    help: 'Open connections to endpoints',
    labels: ['service'],
  },
  pendingRequests: {
    name: 'loam_waypoint_pending_requests',
    help: 'Requests that wait for a connection',
    labels: ['service'],
  },
  ejectedEndpoints: {
    name: 'loam_waypoint_ejected_endpoints',
    help: 'Endpoints that are out of balancing now, as each worker sees it, added up',
    labels: ['service'],
  },
} as const satisfies Record<string, RuntimeMetric>;

export type RuntimeCounter = keyof typeof RUNTIME_COUNTERS;
export type RuntimeGauge = keyof typeof RUNTIME_GAUGES;

/** Gauges of Services, which are read off what there is when somebody asks. */
export type ServiceGauge = 'upstreamConnections' | 'pendingRequests' | 'ejectedEndpoints';

/** The label values that a metric takes: as many as it has labels. */
export type LabelsOf<L extends readonly string[]> = { readonly [K in keyof L]: string };

/** One value of one metric on its way to the main thread. */
export interface RuntimeValue<Name> {
  readonly metric: Name;
  readonly labels: readonly string[];
  readonly value: number;
}

export interface RuntimeBatch {
  /** Growth since the last batch. */
  readonly counters: readonly RuntimeValue<RuntimeCounter>[];
  /** All gauges that are shown or not 0; absent when none changed. */
  readonly gauges?: readonly RuntimeValue<RuntimeGauge>[];
}

/** So many label sets of all counters, and of all gauges; further ones are counted under `other`. */
const MAX_VALUES = 10_000;
const OTHER = 'other';

/** Counters and gauges of one worker thread. */
export class RuntimeMetrics {
  readonly #counters = new Map<
    string,
    { metric: RuntimeCounter; labels: readonly string[]; value: number }
  >();
  readonly #gauges = new Map<string, { metric: RuntimeGauge; labels: readonly string[]; value: number }>();
  readonly #shown = new Map<ServiceGauge, readonly RuntimeValue<ServiceGauge>[]>();
  #gaugesChanged = false;

  /** Adds to a counter. */
  count<C extends RuntimeCounter>(
    metric: C,
    labels: LabelsOf<(typeof RUNTIME_COUNTERS)[C]['labels']>,
    by = 1,
  ): void {
    entry(this.#counters, metric, labels).value += by;
  }

  /** Changes a gauge by a step up or down. */
  step<G extends RuntimeGauge>(
    metric: G,
    labels: LabelsOf<(typeof RUNTIME_GAUGES)[G]['labels']>,
    by: number,
  ): void {
    entry(this.#gauges, metric, labels).value += by;
    this.#gaugesChanged = true;
  }

  /** Sets a gauge. */
  set<G extends RuntimeGauge>(
    metric: G,
    labels: LabelsOf<(typeof RUNTIME_GAUGES)[G]['labels']>,
    value: number,
  ): void {
    entry(this.#gauges, metric, labels).value = value;
    this.#gaugesChanged = true;
  }

  /**
   * Shows a gauge as it is now, for these Services and no others: those of 0 too, for there is a difference between none and nothing.
   *
   * @param values by `namespace/hostname`
   */
  show(metric: ServiceGauge, values: ReadonlyMap<string, number>): void {
    const shown: RuntimeValue<ServiceGauge>[] = [];
    let others = 0;
    for (const [service, value] of values) {
      if (shown.length < MAX_VALUES) shown.push({ metric, labels: [service], value });
      else others += value;
    }
    if (others > 0) shown.push({ metric, labels: [OTHER], value: others });
    this.#shown.set(metric, shown);
    this.#gaugesChanged = true;
  }

  takeBatch(): RuntimeBatch {
    const counters = [...this.#counters.values()];
    this.#counters.clear();
    if (!this.#gaugesChanged) return { counters };
    this.#gaugesChanged = false;
    for (const [key, { value }] of this.#gauges) if (value === 0) this.#gauges.delete(key);
    const stepped = [...this.#gauges.values()].map((gauge) => ({ ...gauge }));
    return { counters, gauges: [...stepped, ...[...this.#shown.values()].flat()] };
  }
}

function entry<Name extends string>(
  map: Map<string, { metric: Name; labels: readonly string[]; value: number }>,
  metric: Name,
  labels: readonly string[],
): { value: number } {
  const bounded = map.size < MAX_VALUES ? labels : labels.map(() => OTHER);
  const key = `${metric}\n${labels.join('\n')}`;
  const known = map.get(key);
  if (known !== undefined) return known;
  const boundedKey = `${metric}\n${bounded.join('\n')}`;
  const made = map.get(boundedKey) ?? { metric, labels: [...bounded], value: 0 };
  map.set(boundedKey, made);
  return made;
}
