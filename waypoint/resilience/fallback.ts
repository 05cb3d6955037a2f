import { RetryCondition, type Fallback } from '../../proto/gen/loam/waypoint/v1/waypoint_pb.js';
import { conditionOf, type Conditions, type Outcome } from './outcome.ts';

export interface FallbackFacts {
  readonly grpc: boolean;
  /** As of a retry: whether the request can be sent again. */
  readonly replayable: boolean;
  readonly responseStarted: boolean;
  /** Whether the fallback has been tried for this request. */
  readonly fellBack: boolean;
}

/**
 * - to `service` and `port` (its own request, with the whole of the remaining time)
 * - invalid: the reference cannot be used; the original failure is to be answered, and the reason logged
 */
export type FallbackDecision =
  | { readonly fallBack: true; readonly service: string; readonly port: number }
  | { readonly fallBack: false; readonly invalid?: string };

const NO: FallbackDecision = { fallBack: false };

/**
 * Whether another Service answers in place of one that failed, once its retries are over. Unlike a retry it needs no
 * idempotent method: it is another service that gets the request, and the policy says that it may.
 */
export class FallbackPolicy {
  readonly #fallback: Fallback;
  readonly #conditions: Conditions;

  constructor(fallback: Fallback) {
    this.#fallback = fallback;
    this.#conditions = { on: new Set(fallback.on), statuses: new Set(fallback.statuses) };
  }

  /** Decides after the last attempt at the original Service; never a second time for one request. */
  shouldFallBack(outcome: Outcome, facts: FallbackFacts): FallbackDecision {
    if (facts.fellBack || facts.responseStarted || !facts.replayable) return NO;
    if (!this.#covers(outcome, facts.grpc)) return NO;
    const { service, port, invalid } = this.#fallback;
    return invalid === '' ? { fallBack: true, service, port } : { fallBack: false, invalid };
  }

  #covers(outcome: Outcome, grpc: boolean): boolean {
    switch (outcome.kind) {
      case 'no-endpoint':
      case 'circuit-open':
        return this.#conditions.on.has(RetryCondition.CONNECT_FAILURE);
      case 'request-timeout':
        // Nothing is left for a fallback.
        return false;
      case 'try-timeout':
        // Status conditions speak of what an endpoint answered.
        return this.#fallback.onTimeout;
      default:
        return conditionOf(outcome, this.#conditions, grpc) !== undefined;
    }
  }
}
