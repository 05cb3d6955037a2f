import type {
  Algorithm,
  Condition,
  GrpcStatus,
  RateLimitKey,
  SessionType,
} from '../schema/traffic-policy-values.ts';
import type { Base } from './meta.ts';

// Every field, unit and default: docs/traffic-policy.md. Durations are texts of GEP-2257.

export interface TrafficTarget {
  readonly group?: string;
  readonly kind: 'Service' | 'HTTPRoute' | 'GRPCRoute';
  readonly name: string;
}

export interface RetriesSpec {
  readonly conditions?: readonly Condition[];
  readonly statuses?: readonly number[];
  readonly attempts?: number;
  readonly perTryTimeout?: string;
  readonly backoff?: { readonly base?: string; readonly max?: string };
  readonly budget?: { readonly percent?: number; readonly window?: string; readonly minPerSecond?: number };
  readonly retryNonIdempotent?: boolean;
  readonly sameEndpoint?: boolean;
  readonly maxBufferedBytes?: number;
}

export interface TimeoutsSpec {
  readonly request?: string;
  readonly idle?: string;
  readonly connect?: string;
}

export interface FallbackSpec {
  readonly service: string;
  readonly namespace?: string;
  readonly port: number;
  readonly conditions?: readonly Condition[];
  readonly statuses?: readonly number[];
  readonly onTimeout?: boolean;
}

export interface CircuitBreakerSpec {
  readonly maxConnections?: number;
  readonly maxPendingRequests?: number;
  readonly maxRequests?: number;
  readonly maxRequestsPerConnection?: number;
}

export interface OutlierDetectionSpec {
  readonly consecutiveErrors?: number;
  readonly consecutiveGatewayErrors?: number;
  readonly interval?: string;
  readonly baseEjection?: string;
  readonly maxEjection?: string;
  readonly maxEjectedPercent?: number;
  readonly minHealthPercent?: number;
}

export interface HashSpec {
  readonly header?: string;
  readonly cookie?: string;
  readonly query?: string;
  readonly sourceIp?: boolean;
}

export interface LoadBalancingSpec {
  readonly algorithm?: Algorithm;
  readonly hash?: HashSpec;
  readonly slowStart?: string;
  readonly ignoreLocality?: boolean;
}

export interface SessionPersistenceSpec {
  readonly name: string;
  readonly type?: SessionType;
  readonly absoluteTimeout?: string;
  readonly idleTimeout?: string;
  readonly permanent?: boolean;
}

export interface RateLimitRuleSpec {
  readonly requests: number;
  readonly per: string;
  readonly burst?: number;
  readonly key?: RateLimitKey;
  readonly header?: string;
  readonly status?: number;
}

export interface FaultHeaderSpec {
  readonly name: string;
  readonly exact?: string;
  readonly regex?: string;
}

export interface FaultInjectionSpec {
  readonly delay?: { readonly percent?: number; readonly duration: string };
  readonly abort?: {
    readonly percent?: number;
    readonly status?: number;
    readonly grpcStatus?: GrpcStatus;
  };
  readonly headers?: readonly FaultHeaderSpec[];
}

/** loam.dev/v1: what a waypoint does beyond routing for the Services or routes that it is attached to. */
export interface TrafficPolicy extends Base<'TrafficPolicy'> {
  readonly spec: {
    readonly targetRefs: readonly TrafficTarget[];
    readonly retries?: RetriesSpec;
    readonly timeouts?: TimeoutsSpec;
    readonly fallback?: FallbackSpec;
    readonly circuitBreaker?: CircuitBreakerSpec;
    readonly outlierDetection?: OutlierDetectionSpec;
    readonly loadBalancing?: LoadBalancingSpec;
    readonly sessionPersistence?: SessionPersistenceSpec;
    readonly rateLimit?: { readonly rules: readonly RateLimitRuleSpec[] };
    readonly faultInjection?: FaultInjectionSpec;
  };
}
