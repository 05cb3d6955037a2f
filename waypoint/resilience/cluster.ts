import {
  LoadBalancing_Algorithm as Algorithm,
  type TrafficPolicy,
} from '../../proto/gen/loam/waypoint/v1/waypoint_pb.js';
import { choose, Group, type BalancerInput } from './balancer.ts';
import { CircuitBreaker } from './circuit-breaker.ts';
import { ClusterView, type Rank } from './cluster-view.ts';
import { endpointKey, type Endpoint, type EndpointState } from './endpoint.ts';
import { healthOf, type Outcome } from './outcome.ts';
import { newOutlierState, OutlierDetector, type OutlierEvent } from './outlier-detector.ts';
import { PeakEwma } from './peak-ewma.ts';
import { MONOTONIC_NOW, type Now, type Random } from './time.ts';

/** What of a TrafficPolicy matters to a cluster. */
export type ClusterPolicy = Pick<TrafficPolicy, 'circuitBreaker' | 'outlierDetection' | 'loadBalancing'>;

/**
 * - no-endpoints: the Service has none, or all have weight 0 (UH)
 * - none-healthy: none is ready, or all are ejected (UH)
 * - circuit-open: as many requests are in flight as may be (UO)
 */
export type PickFailure = 'no-endpoints' | 'none-healthy' | 'circuit-open';

export interface PickContext {
  /** Keys ({@link endpointKey}) of endpoints that this request tried: avoided as long as there is another. */
  readonly tried?: ReadonlySet<string>;
  /** What a consistent hash hashes (hash-key.ts); without it a random one is taken. */
  readonly hashKey?: string | undefined;
  /** The uid that a valid session names; taken if it can serve, of weight 0 too, so that sessions drain. */
  readonly session?: string | undefined;
}

export interface ClusterOptions {
  readonly now?: Now;
  readonly random?: Random;
  readonly onEvent?: (event: OutlierEvent) => void;
}

/**
 * The endpoints of one backend Service and port: which one a request goes to, and what is known of each. Only counts and
 * chooses; it opens nothing and sets no timer.
 *
 * For each attempt: `pick`, then at once `begin`, and `done` exactly once as it is over, however it ended.
 */
export class Cluster {
  /** Connections and those who wait for one; requests are counted by `pick`, `begin` and `done`. */
  readonly circuit: CircuitBreaker;
  readonly #now: Now;
  readonly #random: Random;
  readonly #detector: OutlierDetector;
  readonly #view: ClusterView;
  /** Listed endpoints, and those that left with requests in flight. */
  readonly #states = new Map<string, EndpointState>();
  #policy: ClusterPolicy | undefined;
  #updated = false;

  constructor({ now = MONOTONIC_NOW, random = Math.random, onEvent = () => {} }: ClusterOptions = {}) {
    this.#now = now;
    this.#random = random;
    this.#detector = new OutlierDetector(onEvent);
    this.#view = new ClusterView(this.#detector, onEvent);
    this.circuit = new CircuitBreaker();
  }

  /**
   * Replaces endpoints and policy. What stays (same workload and port) keeps its counts, latency and ejections; what is new
   * or has become healthy starts slowly if the policy says so, except at the first update, when all are new to us alone.
   *
   * @param policy undefined: least request by locality, no bounds, no outlier detection
   */
  update(endpoints: readonly Endpoint[], policy: ClusterPolicy | undefined): void {
    const now = this.#now();
    this.#policy = policy;
    this.circuit.configure(policy?.circuitBreaker);
    this.#detector.configure(policy?.outlierDetection);
    const listed = new Set<EndpointState>();
    for (const endpoint of endpoints) listed.add(this.#upsert(endpoint, now, true));
    for (const state of this.#states.values()) {
      state.listed = listed.has(state);
      this.#forgetIfOver(state);
    }
    this.#updated = true;
    this.#view.update([...listed], policy?.loadBalancing?.ignoreLocality ?? false);
  }

  /** Chooses where a request goes. Changes nothing but turns; {@link begin} takes the place. */
  pick(context: PickContext = {}): Endpoint | PickFailure {
    const now = this.#now();
    const view = this.#view;
    view.refresh(now);
    const session = context.session === undefined ? undefined : view.byUid(context.session);
    const bound = session !== undefined && view.usable(session) && !context.tried?.has(session.key);
    if (!bound && view.ranks.length === 0) return view.size === 0 ? 'no-endpoints' : 'none-healthy';
    if (this.circuit.refusesRequest()) return 'circuit-open';
    if (bound) return session.endpoint;
    const chosen =
      (context.tried !== undefined && context.tried.size > 0
        ? (this.#select(context, context.tried, now) ?? this.#selectEjected(context.tried, now))
        : undefined) ?? this.#select(context, undefined, now);
    return chosen === undefined ? 'none-healthy' : chosen.endpoint;
  }

  /** An attempt goes to this endpoint: to be called right after {@link pick}, before a connection is sought. */
  begin(endpoint: Endpoint): void {
    this.circuit.beginRequest();
    // It may have left since it was picked.
    const state = this.#states.get(endpointKey(endpoint)) ?? this.#upsert(endpoint, this.#now(), false);
    state.inFlight++;
  }

  /**
   * An attempt is over, its response body included; once for each {@link begin}.
   *
   * @param latencyMs from the start of the attempt to the head of the response, or to the failure
   */
  done(endpoint: Endpoint, outcome: Outcome, latencyMs: number): void {
    const state = this.#states.get(endpointKey(endpoint));
    if (state === undefined || state.inFlight === 0) return;
    state.inFlight--;
    this.circuit.endRequest();
    const now = this.#now();
    const health = healthOf(outcome);
    if (health !== 'neutral') state.latency.observe(latencyMs, health !== 'success', now);
    if (state.listed && this.#policy?.outlierDetection !== undefined) {
      this.#view.refresh(now);
      if (this.#detector.report(state, health, now, this.#view.counts)) this.#view.invalidate();
    }
    this.#forgetIfOver(state);
  }

  /** Requests in flight to an endpoint, for metrics and admin. */
  inFlight(endpoint: Endpoint): number {
    return this.#states.get(endpointKey(endpoint))?.inFlight ?? 0;
  }

  /** How many endpoints are listed, ready, and of those ejected. */
  health(): { readonly listed: number; readonly ready: number; readonly ejected: number } {
    this.#view.refresh(this.#now());
    return { listed: this.#view.size, ...this.#view.counts };
  }

  #select(
    context: PickContext,
    avoid: ReadonlySet<string> | undefined,
    now: number,
  ): EndpointState | undefined {
    const balancing = this.#policy?.loadBalancing;
    const algorithm = balancing?.algorithm ?? Algorithm.LEAST_REQUEST;
    const input: BalancerInput = { now, random: this.#random, slowStart: balancing?.slowStart ?? 0 };
    for (const rank of this.#view.ranks) {
      const chosen =
        algorithm === Algorithm.CONSISTENT_HASH && context.hashKey !== undefined
          ? this.#view
              .ringOf(rank)
              .find(context.hashKey, (m) => this.#view.usable(m.state) && !avoid?.has(m.key))?.state
          : choose(algorithm, groupWithout(rank, avoid), input);
      if (chosen !== undefined) return chosen;
    }
    return undefined;
  }

  /**
   * All that are in use have just failed this request, so an ejected one is the better bet: it was ejected for what it did
   * then, and may serve again.
   */
  #selectEjected(tried: ReadonlySet<string>, now: number): EndpointState | undefined {
    const untried = this.#view.ejected().filter(({ key }) => !tried.has(key));
    return new Group(untried).draw({ now, random: this.#random, slowStart: 0 });
  }

  #upsert(endpoint: Endpoint, now: number, listed: boolean): EndpointState {
    const key = endpointKey(endpoint);
    let state = this.#states.get(key);
    if (state === undefined) {
      state = {
        key,
        endpoint,
        listed,
        inFlight: 0,
        warmSince: this.#updated ? now : -Infinity,
        latency: new PeakEwma(),
        outlier: newOutlierState(),
        // Waypoints that start together must not all begin with the first endpoint.
        turn: this.#random() * endpoint.weight,
      };
      this.#states.set(key, state);
    } else if (!state.listed || (endpoint.healthy && !state.endpoint.healthy)) {
      state.warmSince = now;
    }
    state.endpoint = endpoint;
    return state;
  }

  #forgetIfOver(state: EndpointState): void {
    if (!state.listed && state.inFlight === 0) this.#states.delete(state.key);
  }
}

function groupWithout(rank: Rank, avoid: ReadonlySet<string> | undefined): Group {
  if (avoid === undefined) return rank.group;
  return new Group(rank.group.members.filter((member) => !avoid.has(member.key)));
}
