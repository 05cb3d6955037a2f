import {
  RetryCondition,
  type Retries,
  type RouteRetry,
} from '../../proto/gen/loam/waypoint/v1/waypoint_pb.js';
import { conditionOf, isGrpcCondition, type Conditions, type Outcome } from './outcome.ts';
import { parseRetryAfter } from './retry-after.ts';
import type { RetryBudget } from './retry-budget.ts';
import { WALL_NOW, type Now, type Random } from './time.ts';

/** What a decision needs to know of the request. */
export interface RequestFacts {
  readonly method: string;
  readonly grpc: boolean;
  /** Whether the whole request can be sent again: its body was kept, or nothing of it was read. */
  readonly replayable: boolean;
  /** Whether a part of the response went to the client: then nothing can be taken back. */
  readonly responseStarted: boolean;
  /** Left of the whole request's time, in milliseconds; undefined: no bound. */
  readonly remainingMs: number | undefined;
}

/**
 * - off: no retries configured
 * - response-started: the client has seen a part already
 * - not-retriable: no condition covers this outcome
 * - exhausted: as many attempts as allowed were made (URX)
 * - method: it may have been processed, and doing it twice may do harm
 * - body: the body was too large to keep
 * - deadline: the wait would outlast the request
 * - budget: too many retries already, compared with requests
 */
export type NoRetry =
  'off' | 'response-started' | 'not-retriable' | 'exhausted' | 'method' | 'body' | 'deadline' | 'budget';

export type RetryDecision =
  | { readonly retry: true; readonly delayMs: number; readonly condition: RetryCondition }
  | { readonly retry: false; readonly why: NoRetry };

export interface RetryDependencies {
  readonly random?: Random;
  readonly wallNow?: Now;
  /** Absent: no bound on retries as a whole. */
  readonly budget?: RetryBudget | undefined;
}

/** RFC 9110 section 9.2.2. */
const IDEMPOTENT: ReadonlySet<string> = new Set(['GET', 'HEAD', 'OPTIONS', 'TRACE', 'PUT', 'DELETE']);

/** These cannot have been processed, so any method may be sent again. */
const NOT_PROCESSED: ReadonlySet<Outcome['kind']> = new Set(['connect-failure', 'refused-stream']);

interface Settings extends Conditions {
  readonly attempts: number;
  readonly perTryTimeout: number;
  readonly backoffBase: number;
  readonly backoffMax: number;
  /** Least wait before a retry (GEP-1731); the jitter comes on top. */
  readonly backoffFloor: number;
  readonly retryNonIdempotent: boolean;
  readonly sameEndpoint: boolean;
  readonly maxBufferedBytes: number;
}

/**
 * Without a TrafficPolicy: two retries, and only of what was certainly not processed, which is safe for every method. So a
 * pod that is being replaced costs no request, and nothing is ever done twice.
 */
const DEFAULTS: Settings = {
  on: new Set([RetryCondition.CONNECT_FAILURE, RetryCondition.REFUSED_STREAM]),
  statuses: new Set(),
  attempts: 2,
  perTryTimeout: 0,
  backoffBase: 25,
  backoffMax: 250,
  backoffFloor: 0,
  retryNonIdempotent: false,
  sameEndpoint: false,
  maxBufferedBytes: 65_536,
};

/** Whether and when a failed attempt is made again. Immutable; the budget is its only memory. */
export class RetryPolicy {
  /** Of one attempt, in milliseconds; 0: none. */
  readonly perTryTimeout: number;
  /** True: do not avoid endpoints that were tried. */
  readonly sameEndpoint: boolean;
  /** Bytes of a request's body to keep for another attempt; a larger body is not retried. 0 where there are no retries. */
  readonly maxBufferedBytes: number;
  readonly #settings: Settings;
  readonly #random: Random;
  readonly #wallNow: Now;
  readonly #budget: RetryBudget | undefined;

  private constructor(
    settings: Settings,
    { random = Math.random, wallNow = WALL_NOW, budget }: RetryDependencies,
  ) {
    this.#settings = settings;
    this.#random = random;
    this.#wallNow = wallNow;
    this.#budget = budget;
    this.perTryTimeout = settings.perTryTimeout;
    this.sameEndpoint = settings.sameEndpoint;
    this.maxBufferedBytes = settings.attempts === 0 ? 0 : settings.maxBufferedBytes;
  }

  /**
   * @param policy of the TrafficPolicy; undefined: the defaults
   * @param route GEP-1731 retry of the route's rule, which overrides codes, attempts and backoff
   */
  static from(
    policy: Retries | undefined,
    route: RouteRetry | undefined,
    dependencies: RetryDependencies = {},
  ): RetryPolicy {
    const base: Settings =
      policy === undefined
        ? DEFAULTS
        : { ...policy, on: new Set(policy.on), statuses: new Set(policy.statuses), backoffFloor: 0 };
    return new RetryPolicy(route === undefined ? base : withRoute(base, route), dependencies);
  }

  /** Counts a request (its first attempt) towards the budget. */
  onRequest(): void {
    this.#budget?.onRequest();
  }

  /**
   * Decides after an attempt failed, and takes a retry from the budget when it says yes.
   *
   * @param attempt which one failed: 0 is the first try
   */
  decide(outcome: Outcome, attempt: number, facts: RequestFacts): RetryDecision {
    const { attempts, retryNonIdempotent } = this.#settings;
    if (attempts === 0) return { retry: false, why: 'off' };
    if (facts.responseStarted) return { retry: false, why: 'response-started' };
    const condition = conditionOf(outcome, this.#settings, facts.grpc);
    if (condition === undefined) return { retry: false, why: 'not-retriable' };
    if (attempt >= attempts) return { retry: false, why: 'exhausted' };
    if (!retryNonIdempotent && !safeToRepeat(outcome, condition, facts))
      return { retry: false, why: 'method' };
    if (!facts.replayable) return { retry: false, why: 'body' };
    const delayMs = this.#delay(outcome, attempt);
    if (facts.remainingMs !== undefined && delayMs >= facts.remainingMs)
      return { retry: false, why: 'deadline' };
    if (this.#budget?.tryRetry() === false) return { retry: false, why: 'budget' };
    return { retry: true, delayMs, condition };
  }

  /** Full jitter over an exponential bound, and what the server asked for as far as the policy's longest wait. */
  #delay(outcome: Outcome, attempt: number): number {
    const { backoffBase, backoffMax, backoffFloor } = this.#settings;
    const bound = Math.min(backoffMax, backoffBase * 2 ** Math.min(attempt, 31));
    const jittered = Math.max(backoffFloor, Math.min(backoffMax, backoffFloor + this.#random() * bound));
    const asked =
      outcome.kind === 'status' && outcome.retryAfter !== undefined
        ? (parseRetryAfter(outcome.retryAfter, this.#wallNow()) ?? 0)
        : 0;
    return Math.max(jittered, Math.min(asked, backoffMax));
  }
}

/** What the route's rule does not say (no codes, no backoff) stays the policy's. */
function withRoute(base: Settings, route: RouteRetry): Settings {
  const backoff =
    route.backoff === 0
      ? {}
      : {
          backoffFloor: route.backoff,
          backoffBase: route.backoff,
          backoffMax: Math.max(base.backoffMax, route.backoff * 10),
        };
  return {
    ...base,
    ...backoff,
    on: new Set([...base.on, RetryCondition.CONNECT_FAILURE, RetryCondition.REFUSED_STREAM]),
    statuses: route.codes.length === 0 ? base.statuses : new Set(route.codes),
    attempts: route.attempts,
  };
}

/**
 * Every gRPC call is a POST, so the method tells nothing about it: whoever names a gRPC status as a condition says with it
 * that calls may be repeated after it. A reset says nothing of the kind.
 */
function safeToRepeat(outcome: Outcome, condition: RetryCondition, { method }: RequestFacts): boolean {
  if (NOT_PROCESSED.has(outcome.kind) || IDEMPOTENT.has(method)) return true;
  return isGrpcCondition(condition);
}
