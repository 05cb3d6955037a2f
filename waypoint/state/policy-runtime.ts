import type { RouteRule, Service, TrafficPolicy } from '../../proto/gen/loam/waypoint/v1/waypoint_pb.js';
import { FallbackPolicy } from '../resilience/fallback.ts';
import { FaultInjector } from '../resilience/fault.ts';
import { LocalRateLimit } from '../resilience/rate-limit.ts';
import type { SharedBuckets } from '../resilience/shared-buckets.ts';
import { RetryBudget } from '../resilience/retry-budget.ts';
import { RetryPolicy } from '../resilience/retry-policy.ts';

/** The parts of a TrafficPolicy that concern requests; a route's part stands in place of its Service's (docs/traffic-policy.md). */
export type RequestParts = Pick<
  TrafficPolicy,
  'retries' | 'timeouts' | 'fallback' | 'sessionPersistence' | 'rateLimit' | 'fault'
>;

const NO_PARTS: RequestParts = {};

/** What outlives a change of configuration: buckets that are empty stay empty, retries that were made stay counted. */
export class PolicyMemory {
  readonly #service: string;
  readonly #buckets: SharedBuckets | undefined;
  readonly #limits = new Map<string, LocalRateLimit>();
  readonly #budgets = new Map<string, RetryBudget>();

  /**
   * @param service that it is of
   * @param buckets that all threads share; undefined: limits count for this thread alone
   */
  constructor(service: string, buckets: SharedBuckets | undefined) {
    this.#service = service;
    this.#buckets = buckets;
  }

  limit(key: string): LocalRateLimit {
    const buckets = this.#buckets;
    return getOrMake(this.#limits, key, () =>
      buckets === undefined
        ? new LocalRateLimit(undefined)
        : new LocalRateLimit(undefined, { shared: { buckets, name: `${key}|${this.#service}` } }),
    );
  }

  budget(key: string): RetryBudget {
    return getOrMake(this.#budgets, key, () => new RetryBudget(undefined));
  }

  /** Forgets what no policy of this Service uses any more. */
  keepOnly(keys: ReadonlySet<string>): void {
    for (const map of [this.#limits, this.#budgets]) {
      for (const key of map.keys()) if (!keys.has(key)) map.delete(key);
    }
  }
}

/** What a request for one Service, by one route or none, is subject to. */
export class PolicyRuntime {
  readonly parts: RequestParts;
  readonly fallback: FallbackPolicy | undefined;
  readonly fault: FaultInjector | undefined;
  /** Undefined when nothing is limited. */
  readonly rateLimit: LocalRateLimit | undefined;
  readonly rateLimitPolicy: string;
  readonly #budget: RetryBudget;
  readonly #retries = new WeakMap<RouteRule, RetryPolicy>();
  readonly #plain: RetryPolicy;

  /** @param key names the pair of policies, for what outlives changes */
  constructor(
    key: string,
    route: TrafficPolicy | undefined,
    service: TrafficPolicy | undefined,
    memory: PolicyMemory,
  ) {
    const parts = (this.parts = mergeParts(route, service));
    this.fallback = parts.fallback && new FallbackPolicy(parts.fallback);
    this.fault = parts.fault && new FaultInjector(parts.fault);
    // A limit is its own policy's: all that share the policy share the buckets.
    const limiting = route?.rateLimit !== undefined && parts.rateLimit === route.rateLimit ? route : service;
    this.rateLimitPolicy = limiting === undefined ? '' : `${limiting.namespace}/${limiting.name}`;
    if (parts.rateLimit === undefined) this.rateLimit = undefined;
    else {
      this.rateLimit = memory.limit(this.rateLimitPolicy);
      this.rateLimit.configure(parts.rateLimit);
    }
    this.#budget = memory.budget(key);
    this.#budget.configure(parts.retries?.budget);
    this.#plain = RetryPolicy.from(parts.retries, undefined, { budget: this.#budget });
  }

  /** @param rule undefined where no route matched */
  retries(rule: RouteRule | undefined): RetryPolicy {
    if (rule?.retry === undefined) return this.#plain;
    let made = this.#retries.get(rule);
    if (made === undefined) {
      made = RetryPolicy.from(this.parts.retries, rule.retry, { budget: this.#budget });
      this.#retries.set(rule, made);
    }
    return made;
  }
}

export function mergeParts(
  route: TrafficPolicy | undefined,
  service: TrafficPolicy | undefined,
): RequestParts {
  if (route === undefined) return service ?? NO_PARTS;
  if (service === undefined) return route;
  const parts: { -readonly [K in keyof RequestParts]: RequestParts[K] } = {};
  for (const part of [
    'retries',
    'timeouts',
    'fallback',
    'sessionPersistence',
    'rateLimit',
    'fault',
  ] as const) {
    const value = route[part] ?? service[part];
    if (value !== undefined) Object.assign(parts, { [part]: value });
  }
  // What protects a Service from its clients is not theirs to lift: a consumer's route is of another namespace.
  if (route.namespace !== service.namespace && service.rateLimit !== undefined)
    parts.rateLimit = service.rateLimit;
  return parts;
}

/** The name under which telemetry knows a Service. */
export function serviceName({ name, namespace, key }: Service): {
  readonly name: string;
  readonly namespace: string;
  readonly hostname: string;
} {
  return { name, namespace, hostname: key.slice(key.indexOf('/') + 1) };
}

function getOrMake<V>(map: Map<string, V>, key: string, make: () => V): V {
  let value = map.get(key);
  if (value === undefined) map.set(key, (value = make()));
  return value;
}
