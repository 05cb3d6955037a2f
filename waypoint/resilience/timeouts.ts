import type { Timeouts } from '../../proto/gen/loam/waypoint/v1/waypoint_pb.js';
import { formatGrpcTimeout, parseGrpcTimeout } from './grpc-timeout.ts';
import { MONOTONIC_NOW, type Now } from './time.ts';

/** Without a TrafficPolicy (`timeouts: {}` in docs/traffic-policy.md): somebody has to give up on an address that does not answer. */
export const CONNECT_TIMEOUT_MS = 10_000;

/** A wait longer than this is none: Node's timers take no more. */
const MAX_TIMEOUT_MS = 2 ** 31 - 1;

/** What bounds a request as a whole. All in milliseconds, 0: none. */
export interface RequestBounds {
  readonly timeouts: Pick<Timeouts, 'request'> | undefined;
  /** `timeouts.request` of the route's rule: it stands nearer to the request and replaces the policy's. */
  readonly routeRequest: number;
  /** The request's `grpc-timeout`, if it is gRPC; what is malformed counts as absent. */
  readonly grpcTimeout?: string | undefined;
}

/** What bounds one attempt. All in milliseconds, 0: none. */
export interface AttemptBounds {
  readonly perTry: number;
  /** `timeouts.backendRequest` of the route's rule, which replaces `perTry`. */
  readonly backendRequest: number;
}

/** How long an attempt may take, and what it means when that is over (see Outcome). */
export interface AttemptTimeout {
  readonly ms: number;
  readonly means:
    { readonly kind: 'try-timeout' } | { readonly kind: 'request-timeout'; readonly by: 'policy' | 'client' };
}

/** The time of one request, from its head on, over all attempts and the waits between. The shorter of what is configured and the client's bound holds. */
export class Deadline {
  /** Whose bound it is; undefined without one. */
  readonly by: 'policy' | 'client' | undefined;
  readonly #now: Now;
  readonly #at: number;

  constructor({ timeouts, routeRequest, grpcTimeout }: RequestBounds, now: Now = MONOTONIC_NOW) {
    this.#now = now;
    const policy = bound(routeRequest === 0 ? (timeouts?.request ?? 0) : routeRequest);
    const client = grpcTimeout === undefined ? Infinity : (parseGrpcTimeout(grpcTimeout) ?? Infinity);
    const ms = Math.min(policy, client);
    this.by = ms > MAX_TIMEOUT_MS ? undefined : client < policy ? 'client' : 'policy';
    this.#at = this.by === undefined ? Infinity : now() + ms;
  }

  /** Milliseconds left, 0 when it is over; undefined without a bound. */
  remainingMs(): number | undefined {
    return this.by === undefined ? undefined : Math.max(0, this.#at - this.#now());
  }

  /** How long an attempt that starts now may take; undefined: as long as it likes. */
  attempt({ perTry, backendRequest }: AttemptBounds): AttemptTimeout | undefined {
    const left = this.remainingMs() ?? Infinity;
    const own = bound(backendRequest === 0 ? perTry : backendRequest);
    if (this.by !== undefined && left <= own)
      return { ms: left, means: { kind: 'request-timeout', by: this.by } };
    return own > MAX_TIMEOUT_MS ? undefined : { ms: own, means: { kind: 'try-timeout' } };
  }

  /**
   * The `grpc-timeout` to send with an attempt of that bound, so that the server gives up when we do; undefined: none, and
   * what the client sent is to be removed.
   */
  grpcTimeout(attempt: AttemptTimeout | undefined): string | undefined {
    const ms = attempt?.ms ?? this.remainingMs();
    return ms === undefined ? undefined : formatGrpcTimeout(ms);
  }
}

/** How long a connection attempt may take, in milliseconds: the policy's bound, or what is left of the request. */
export function connectTimeoutMs(
  timeouts: Pick<Timeouts, 'connect'> | undefined,
  remainingMs?: number,
): number {
  const configured = timeouts === undefined || timeouts.connect === 0 ? CONNECT_TIMEOUT_MS : timeouts.connect;
  return Math.min(configured, remainingMs ?? Infinity);
}

function bound(ms: number): number {
  return ms === 0 ? Infinity : ms;
}
