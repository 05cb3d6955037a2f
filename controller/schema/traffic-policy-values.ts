/**
 * Words, bounds and defaults of TrafficPolicy (docs/traffic-policy.md), each in one place: the schema, the checks and the
 * compiler read them here, and tests compare them with the page and with the CRD.
 */

/** Conditions of `retries.conditions` and `fallback.conditions`; the last five are of gRPC. */
export const CONDITIONS = [
  'connect-failure',
  'refused-stream',
  'reset',
  'gateway-error',
  'server-error',
  'cancelled',
  'deadline-exceeded',
  'internal',
  'resource-exhausted',
  'unavailable',
] as const;
export type Condition = (typeof CONDITIONS)[number];

export const ALGORITHMS = ['least-request', 'round-robin', 'random', 'ewma', 'consistent-hash'] as const;
export type Algorithm = (typeof ALGORITHMS)[number];

export const RATE_LIMIT_KEYS = ['all', 'source-identity', 'source-ip', 'header'] as const;
export type RateLimitKey = (typeof RATE_LIMIT_KEYS)[number];

export const SESSION_TYPES = ['cookie', 'header'] as const;
export type SessionType = (typeof SESSION_TYPES)[number];

/** gRPC's status codes in order, without OK: the place in the list plus one is the number (gRPC, statuscodes). */
export const GRPC_STATUSES = [
  'cancelled',
  'unknown',
  'invalid-argument',
  'deadline-exceeded',
  'not-found',
  'already-exists',
  'permission-denied',
  'resource-exhausted',
  'failed-precondition',
  'aborted',
  'out-of-range',
  'unimplemented',
  'internal',
  'unavailable',
  'data-loss',
  'unauthenticated',
] as const;
export type GrpcStatus = (typeof GRPC_STATUSES)[number];

export const TARGET_KINDS = ['Service', 'HTTPRoute', 'GRPCRoute'] as const;

/** Parts that act on endpoints, and so may stand only in a policy for a Service. */
export const ENDPOINT_PARTS = ['circuitBreaker', 'outlierDetection', 'loadBalancing'] as const;
/** Parts that act on requests, for a Service or a route. */
export const REQUEST_PARTS = [
  'retries',
  'timeouts',
  'fallback',
  'sessionPersistence',
  'rateLimit',
  'faultInjection',
] as const;

export interface DurationRange {
  readonly min: string;
  readonly max: string;
  /** Whether 0s is allowed as well, for "none". */
  readonly orNone: boolean;
}

const between = (min: string, max: string): DurationRange => ({ min, max, orNone: false });
const orNone = (min: string, max: string): DurationRange => ({ min, max, orNone: true });

/** The range of every duration, by its path below `spec`. */
export const DURATIONS: Readonly<Record<string, DurationRange>> = {
  'retries.perTryTimeout': orNone('1ms', '24h'),
  'retries.backoff.base': between('1ms', '1m'),
  'retries.backoff.max': between('1ms', '10m'),
  'retries.budget.window': between('1s', '1h'),
  'timeouts.request': orNone('1ms', '24h'),
  'timeouts.idle': orNone('1ms', '24h'),
  'timeouts.connect': between('1ms', '5m'),
  'outlierDetection.interval': between('100ms', '1h'),
  'outlierDetection.baseEjection': between('100ms', '1h'),
  'outlierDetection.maxEjection': between('100ms', '24h'),
  'loadBalancing.slowStart': orNone('1s', '1h'),
  'sessionPersistence.absoluteTimeout': orNone('1s', '576h'),
  'sessionPersistence.idleTimeout': orNone('1s', '576h'),
  'rateLimit.rules[].per': between('100ms', '24h'),
  'faultInjection.delay.duration': between('1ms', '1h'),
};

/**
 * What a field that is not set means within its part, as it would be written. Three depend on other fields and are in
 * the compiler: retries.backoff.max, outlierDetection.maxEjection and rateLimit.rules[].burst.
 */
export const DEFAULTS = {
  retries: {
    conditions: ['connect-failure', 'refused-stream'] as readonly Condition[],
    statuses: [] as readonly number[],
    attempts: 2,
    perTryTimeout: '0s',
    backoff: { base: '25ms' },
    budget: { percent: 20, window: '10s', minPerSecond: 10 },
    retryNonIdempotent: false,
    sameEndpoint: false,
    maxBufferedBytes: 65_536,
  },
  timeouts: { request: '0s', idle: '0s', connect: '10s' },
  fallback: {
    conditions: ['connect-failure', 'gateway-error'] as readonly Condition[],
    statuses: [] as readonly number[],
    onTimeout: false,
  },
  circuitBreaker: {
    maxConnections: 0,
    maxPendingRequests: 0,
    maxRequests: 0,
    maxRequestsPerConnection: 0,
  },
  outlierDetection: {
    consecutiveErrors: 5,
    consecutiveGatewayErrors: 0,
    interval: '10s',
    baseEjection: '30s',
    maxEjectedPercent: 10,
    minHealthPercent: 0,
  },
  loadBalancing: { algorithm: 'least-request' as Algorithm, slowStart: '0s', ignoreLocality: false },
  sessionPersistence: {
    type: 'cookie' as SessionType,
    absoluteTimeout: '0s',
    idleTimeout: '0s',
    permanent: false,
  },
  rateLimit: { rules: { key: 'all' as RateLimitKey, status: 429 } },
  faultInjection: { delay: { percent: 100 }, abort: { percent: 100 }, headers: [] },
} as const;

/** retries.backoff.max is so many times its base where it is not set. */
export const BACKOFF_GROWTH = 10;
/** outlierDetection.maxEjection where it is not set and baseEjection is not longer. */
export const MAX_EJECTION = '5m';
