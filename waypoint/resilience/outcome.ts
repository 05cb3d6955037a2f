import { RetryCondition } from '../../proto/gen/loam/waypoint/v1/waypoint_pb.js';

/** How one attempt at a request ended. Whether a part of the response went to the client is told beside it. */
export type Outcome =
  /** Nothing could be picked: the Service has no endpoint, or none that may be used (UH). */
  | { readonly kind: 'no-endpoint' }
  /** A circuit breaker refused it, so nothing was sent (UO). */
  | { readonly kind: 'circuit-open' }
  /** No connection, no tunnel or no TLS within the connect timeout: nothing of the request was sent (UF). */
  | { readonly kind: 'connect-failure' }
  /** The peer says that it has not processed it: REFUSED_STREAM, or a stream above GOAWAY's last one (RFC 9113 section 8.7). */
  | { readonly kind: 'refused-stream' }
  /** The connection or stream ended without a complete response (UC, UR). */
  | { readonly kind: 'reset' }
  /** What came back is not HTTP as it should be (UPE). */
  | { readonly kind: 'protocol-error' }
  /** The time of one attempt ran out: per-try timeout or the route's backend request timeout (UT). */
  | { readonly kind: 'try-timeout' }
  /** The time of the whole request ran out (DT): what was configured, or less that the client asked for. */
  | { readonly kind: 'request-timeout'; readonly by: 'policy' | 'client' }
  | { readonly kind: 'client-gone' }
  /** A response; `retryAfter` is its header as it came. */
  | { readonly kind: 'status'; readonly status: number; readonly retryAfter?: string | undefined }
  /** A gRPC response whose status is known: trailers, or a response of trailers alone. */
  | { readonly kind: 'grpc-status'; readonly grpcStatus: number };

/** gRPC status codes that conditions and health name (gRPC core, statuscodes). */
export const GRPC = {
  OK: 0,
  CANCELLED: 1,
  UNKNOWN: 2,
  DEADLINE_EXCEEDED: 4,
  RESOURCE_EXHAUSTED: 8,
  INTERNAL: 13,
  UNAVAILABLE: 14,
  DATA_LOSS: 15,
} as const;

/** Status in HTTP's terms of a gRPC status, where it speaks against the endpoint; UNIMPLEMENTED speaks against the client. */
const GRPC_AS_HTTP: ReadonlyMap<number, number> = new Map([
  [GRPC.UNKNOWN, 500],
  [GRPC.INTERNAL, 500],
  [GRPC.DATA_LOSS, 500],
  [GRPC.UNAVAILABLE, 503],
  [GRPC.DEADLINE_EXCEEDED, 504],
]);

/** What an outcome says about its endpoint's health. */
export type Health =
  | 'success'
  /** A 5xx that the application itself gave: counts as an error, not as a gateway error. */
  | 'error'
  /** 502, 503, 504 or no response: counts as both. */
  | 'gateway-error'
  /** Nothing, for or against. */
  | 'neutral';

/**
 * Reads an outcome for outlier detection. Neutral is what a client can provoke at will (going away, a tiny deadline of its
 * own) and what a healthy endpoint does as it ends a connection (refused streams): else a client could have endpoints ejected.
 */
export function healthOf(outcome: Outcome): Health {
  switch (outcome.kind) {
    case 'connect-failure':
    case 'reset':
    case 'protocol-error':
    case 'try-timeout':
      return 'gateway-error';
    case 'request-timeout':
      return outcome.by === 'policy' ? 'gateway-error' : 'neutral';
    case 'no-endpoint':
    case 'circuit-open':
    case 'refused-stream':
    case 'client-gone':
      return 'neutral';
    case 'status':
      return healthOfStatus(outcome.status);
    case 'grpc-status':
      return healthOfStatus(GRPC_AS_HTTP.get(outcome.grpcStatus) ?? 200);
  }
}

function healthOfStatus(status: number): Health {
  if (isGatewayStatus(status)) return 'gateway-error';
  return isServerError(status) ? 'error' : 'success';
}

/** Conditions, and statuses beside them. */
export interface Conditions {
  readonly on: ReadonlySet<RetryCondition>;
  readonly statuses: ReadonlySet<number>;
}

/**
 * The condition under which an outcome falls, undefined for none (docs/traffic-policy.md, Values).
 *
 * An attempt that ran out of its time counts as 504, and as DEADLINE_EXCEEDED where the request is gRPC: the server may tell
 * just that at the same moment, since it got the deadline too. A broken response counts as 502.
 */
export function conditionOf(
  outcome: Outcome,
  conditions: Conditions,
  grpc: boolean,
): RetryCondition | undefined {
  switch (outcome.kind) {
    case 'connect-failure':
      return ifOn(conditions, RetryCondition.CONNECT_FAILURE);
    case 'refused-stream':
      return ifOn(conditions, RetryCondition.REFUSED_STREAM);
    case 'reset':
      return ifOn(conditions, RetryCondition.RESET);
    case 'protocol-error':
      return ofStatus(conditions, 502);
    case 'try-timeout':
      return (
        ofStatus(conditions, 504) ??
        (grpc ? ifOn(conditions, RetryCondition.GRPC_DEADLINE_EXCEEDED) : undefined)
      );
    case 'status':
      return ofStatus(conditions, outcome.status);
    case 'grpc-status':
      return ifOn(conditions, GRPC_CONDITIONS.get(outcome.grpcStatus));
    case 'no-endpoint':
    case 'circuit-open':
    case 'request-timeout':
    case 'client-gone':
      return undefined;
  }
}

/** Whether a condition speaks of a gRPC status. */
export function isGrpcCondition(condition: RetryCondition): boolean {
  return condition >= RetryCondition.GRPC_CANCELLED;
}

function ifOn({ on }: Conditions, condition: RetryCondition | undefined): RetryCondition | undefined {
  return condition !== undefined && on.has(condition) ? condition : undefined;
}

function ofStatus(conditions: Conditions, status: number): RetryCondition | undefined {
  if (conditions.statuses.has(status)) return RetryCondition.STATUS;
  return (
    (isGatewayStatus(status) ? ifOn(conditions, RetryCondition.GATEWAY_ERROR) : undefined) ??
    (isServerError(status) ? ifOn(conditions, RetryCondition.SERVER_ERROR) : undefined)
  );
}

const GRPC_CONDITIONS: ReadonlyMap<number, RetryCondition> = new Map([
  [GRPC.CANCELLED, RetryCondition.GRPC_CANCELLED],
  [GRPC.DEADLINE_EXCEEDED, RetryCondition.GRPC_DEADLINE_EXCEEDED],
  [GRPC.INTERNAL, RetryCondition.GRPC_INTERNAL],
  [GRPC.RESOURCE_EXHAUSTED, RetryCondition.GRPC_RESOURCE_EXHAUSTED],
  [GRPC.UNAVAILABLE, RetryCondition.GRPC_UNAVAILABLE],
]);

function isGatewayStatus(status: number): boolean {
  return status >= 502 && status <= 504;
}

function isServerError(status: number): boolean {
  return status >= 500 && status <= 599;
}

/**
 * Whether the endpoint was surely reached, so that its handshake has proved who it is. A try that ran out of time may not
 * have come so far.
 */
export function reachedEndpoint(outcome: Outcome): boolean {
  switch (outcome.kind) {
    case 'refused-stream':
    case 'reset':
    case 'protocol-error':
    case 'status':
    case 'grpc-status':
      return true;
    case 'no-endpoint':
    case 'circuit-open':
    case 'connect-failure':
    case 'try-timeout':
    case 'request-timeout':
    case 'client-gone':
      return false;
  }
}
