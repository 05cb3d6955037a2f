import { errorText } from '../../lib/loam-error.ts';
import type { Route, Service } from '../../proto/gen/loam/waypoint/v1/waypoint_pb.js';
import { RouteTable } from '../../lib/mesh/waypoint/routing/route-table.ts';
import { Authenticator } from '../security/authenticator.ts';
import { Authorizer } from '../../lib/mesh/waypoint/security/authorizer.ts';
import { compilePolicy, type CompiledPolicy } from '../../lib/mesh/waypoint/security/compile-policy.ts';
import type { JwksCache } from '../security/jwks-cache.ts';
import type { AuthorizationPolicy } from '../../proto/gen/loam/waypoint/v1/waypoint_pb.js';
import { MONOTONIC_NOW, type Now } from '../resilience/time.ts';
import type { ConfigStore } from '../../lib/mesh/waypoint/config-store.ts';
import type { SharedBuckets } from '../resilience/shared-buckets.ts';
import { PolicyMemory, PolicyRuntime } from './policy-runtime.ts';

/** Everything that decides about requests for one Service, made of the configuration of one moment. */
export interface ServiceRuntime {
  readonly service: Service;
  readonly table: RouteTable;
  readonly authorizer: Authorizer;
  /** Undefined when no RequestAuthentication applies. */
  readonly authenticator: Authenticator | undefined;
  /** @param route undefined where no route matched */
  policy(route: Route | undefined): PolicyRuntime;
}

/** From so many routes on, a table is not made anew at each of many changes in a row. */
const MANY_ROUTES = 500;
/** It stands for so long for each of its routes: several times what it takes to make it. */
const PAUSE_MS_PER_ROUTE = 0.02;

type LogError = (message: string, fields: Readonly<Record<string, unknown>>) => void;

/**
 * Makes and keeps {@link ServiceRuntime}s. A change makes a new one at the next request; requests under way go on with
 * theirs. Where the new one cannot be made, the former one stays. Many changes of many routes share one new table, which is
 * made up to a tenth of a second late for 5,000; what else changes, policies before all, holds at once.
 */
export class RuntimeStore {
  readonly #config: ConfigStore;
  readonly #jwks: JwksCache;
  readonly #buckets: SharedBuckets | undefined;
  readonly #logError: LogError;
  /** Undefined where none could be made yet. */
  readonly #made = new Map<string, Runtime | undefined>();
  /** Of those that changed, whether by routes alone. */
  readonly #stale = new Map<string, 'routes' | 'more'>();
  readonly #now: Now;
  readonly #memory = new Map<string, PolicyMemory>();
  readonly #policies = new WeakMap<AuthorizationPolicy, CompiledPolicy>();

  constructor(
    config: ConfigStore,
    jwks: JwksCache,
    buckets: SharedBuckets | undefined,
    logError: LogError,
    now: Now = MONOTONIC_NOW,
  ) {
    this.#now = now;
    this.#buckets = buckets;
    this.#config = config;
    this.#jwks = jwks;
    this.#logError = logError;
    config.onChange((services, beyondRoutes) => {
      for (const key of services) this.#mark(key, beyondRoutes.has(key) ? 'more' : 'routes');
    });
  }

  /** @returns undefined for a Service that this waypoint does not know */
  get(key: string): ServiceRuntime | undefined {
    const known = this.#made.get(key);
    const stale = this.#stale.get(key);
    if (stale === undefined && this.#made.has(key)) return known;
    if (stale === 'routes' && known !== undefined && this.#now() < known.standsUntil) return known;
    const service = this.#config.service(key);
    if (service === undefined) return undefined;
    this.#stale.delete(key);
    try {
      const made = this.#make(service);
      this.#made.set(key, made);
      known?.retire();
      return made;
    } catch (error) {
      this.#logError('configuration cannot be used; the former one stays in force', {
        service: key,
        error: errorText(error),
      });
      this.#made.set(key, known);
      return known;
    }
  }

  #mark(key: string, by: 'routes' | 'more'): void {
    if (this.#config.service(key) !== undefined) {
      if (this.#stale.get(key) !== 'more') this.#stale.set(key, by);
      return;
    }
    this.#made.get(key)?.retire();
    this.#made.delete(key);
    this.#stale.delete(key);
    this.#memory.delete(key);
  }

  #make(service: Service): Runtime {
    const config = this.#config;
    const routes = [...config.routes(service.key)];
    const table = new RouteTable(service.key, routes);
    const policies = service.authorization.map((name) => [name, config.authorization(name)] as const);
    const authorizer = new Authorizer(
      policies.flatMap(([, policy]) => (policy === undefined ? [] : [this.#compiled(policy)])),
      policies.flatMap(([name, policy]) => (policy === undefined ? [name] : [])),
    );
    const memory = this.#memory.get(service.key) ?? new PolicyMemory(service.key, this.#buckets);
    this.#memory.set(service.key, memory);
    const made = new Runtime(service, table, authorizer, this.#authenticator(service), config, memory);
    if (routes.length >= MANY_ROUTES) made.standsUntil = this.#now() + routes.length * PAUSE_MS_PER_ROUTE;
    return made;
  }

  #authenticator(service: Service): Authenticator | undefined {
    if (service.authentication.length === 0) return undefined;
    const found = service.authentication.map((name) => [name, this.#config.authentication(name)] as const);
    return new Authenticator(
      found.flatMap(([, policy]) => (policy === undefined ? [] : [policy])),
      found.flatMap(([name, policy]) => (policy === undefined ? [name] : [])),
      this.#jwks,
    );
  }

  #compiled(policy: AuthorizationPolicy): CompiledPolicy {
    let made = this.#policies.get(policy);
    if (made === undefined) this.#policies.set(policy, (made = compilePolicy(policy)));
    return made;
  }
}

class Runtime implements ServiceRuntime {
  readonly service: Service;
  readonly table: RouteTable;
  readonly authorizer: Authorizer;
  readonly authenticator: Authenticator | undefined;
  /** Before that it stays in force although routes changed. */
  standsUntil = -Infinity;
  readonly #plain: PolicyRuntime;
  readonly #byRoutePolicy = new Map<string, PolicyRuntime>();

  constructor(
    service: Service,
    table: RouteTable,
    authorizer: Authorizer,
    authenticator: Authenticator | undefined,
    config: ConfigStore,
    memory: PolicyMemory,
  ) {
    this.service = service;
    this.table = table;
    this.authorizer = authorizer;
    this.authenticator = authenticator;
    const own = service.trafficPolicy === '' ? undefined : config.trafficPolicy(service.trafficPolicy);
    this.#plain = new PolicyRuntime('', undefined, own, memory);
    const used = new Set(['', this.#plain.rateLimitPolicy]);
    for (const { trafficPolicy } of config.routes(service.key)) {
      if (trafficPolicy === '' || this.#byRoutePolicy.has(trafficPolicy)) continue;
      const made = new PolicyRuntime(trafficPolicy, config.trafficPolicy(trafficPolicy), own, memory);
      this.#byRoutePolicy.set(trafficPolicy, made);
      used.add(trafficPolicy).add(made.rateLimitPolicy);
    }
    memory.keepOnly(used);
  }

  policy(route: Route | undefined): PolicyRuntime {
    if (route === undefined || route.trafficPolicy === '') return this.#plain;
    return this.#byRoutePolicy.get(route.trafficPolicy) ?? this.#plain;
  }

  retire(): void {
    this.authenticator?.close();
  }
}
