import type { CircuitBreaker as Limits } from '../../proto/gen/loam/waypoint/v1/waypoint_pb.js';
import { PendingQueue } from './pending-queue.ts';

export type CircuitLimits = Pick<
  Limits,
  'maxConnections' | 'maxPendingRequests' | 'maxRequests' | 'maxRequestsPerConnection'
>;

const NO_LIMITS: CircuitLimits = {
  maxConnections: 0,
  maxPendingRequests: 0,
  maxRequests: 0,
  maxRequestsPerConnection: 0,
};

/** What is going on, and how often each bound refused something, for metrics. */
export interface CircuitStats {
  readonly requests: number;
  readonly pending: number;
  readonly connections: number;
  readonly refused: { readonly requests: number; readonly pending: number; readonly connections: number };
}

/**
 * Bounds what goes to one backend at once. It counts; the caller asks before it acts and tells when it is over. A bound of 0
 * is none. Over a bound the request is refused with 503 and the flag UO (except that without a free connection it waits first).
 * A lower bound disturbs nothing that runs already.
 */
export class CircuitBreaker {
  readonly pending: PendingQueue;
  #limits: CircuitLimits = NO_LIMITS;
  #requests = 0;
  #connections = 0;
  #refusedRequests = 0;
  #refusedConnections = 0;

  constructor(limits?: CircuitLimits) {
    this.pending = new PendingQueue();
    this.configure(limits);
  }

  /** @param limits undefined: no bounds */
  configure(limits: CircuitLimits | undefined): void {
    this.#limits = limits ?? NO_LIMITS;
    this.pending.configure(this.#limits.maxPendingRequests);
    const { maxConnections } = this.#limits;
    this.pending.wake(maxConnections === 0 ? Infinity : Math.max(0, maxConnections - this.#connections));
  }

  /** Whether no more request may be in flight; a yes counts as a refusal. */
  refusesRequest(): boolean {
    const refuses = over(this.#limits.maxRequests, this.#requests);
    if (refuses) this.#refusedRequests++;
    return refuses;
  }

  /** A request began that was admitted before ({@link refusesRequest}). */
  beginRequest(): void {
    this.#requests++;
  }

  endRequest(): void {
    this.#requests = Math.max(0, this.#requests - 1);
  }

  /** Whether one more connection may be opened, and counts it as open. Refused: wait in {@link pending}. */
  tryConnection(): boolean {
    if (!over(this.#limits.maxConnections, this.#connections)) {
      this.#connections++;
      return true;
    }
    this.#refusedConnections++;
    return false;
  }

  /** Whether {@link tryConnection} would admit one now. */
  mayConnect(): boolean {
    if (!over(this.#limits.maxConnections, this.#connections)) return true;
    this.#refusedConnections++;
    return false;
  }

  /** A connection that {@link tryConnection} admitted is closed or never came to be. Lets one that waits go. */
  endConnection(): void {
    if (this.#connections === 0) return;
    this.#connections--;
    if (!over(this.#limits.maxConnections, this.#connections)) this.pending.wake();
  }

  /** Whether a connection has carried as many requests as it may and takes no more. */
  connectionUsedUp(requestsCarried: number): boolean {
    return over(this.#limits.maxRequestsPerConnection, requestsCarried);
  }

  stats(): CircuitStats {
    return {
      requests: this.#requests,
      pending: this.pending.size,
      connections: this.#connections,
      refused: {
        requests: this.#refusedRequests,
        pending: this.pending.refused,
        connections: this.#refusedConnections,
      },
    };
  }
}

function over(limit: number, count: number): boolean {
  return limit > 0 && count >= limit;
}
