import { create } from '@bufbuild/protobuf';
import {
  type CircuitBreaker,
  CircuitBreakerSchema,
  type Fallback,
  FallbackSchema,
  type Fault,
  FaultSchema,
  HashKeySchema,
  type LoadBalancing,
  LoadBalancing_Algorithm,
  LoadBalancingSchema,
  type OutlierDetection,
  OutlierDetectionSchema,
  type RateLimit,
  RateLimitRule_Key,
  RateLimitRuleSchema,
  RateLimitSchema,
  type Retries,
  RetriesSchema,
  RetryBudgetSchema,
  RetryCondition,
  type SessionPersistence,
  SessionPersistence_Type,
  SessionPersistenceSchema,
  type Timeouts,
  TimeoutsSchema,
  ValueMatchSchema,
} from '../../../proto/gen/loam/waypoint/v1/waypoint_pb.js';
import type {
  CircuitBreakerSpec,
  FallbackSpec,
  FaultInjectionSpec,
  HashSpec,
  LoadBalancingSpec,
  OutlierDetectionSpec,
  RateLimitRuleSpec,
  RetriesSpec,
  SessionPersistenceSpec,
  TimeoutsSpec,
} from '../../model/traffic-policy.ts';
import { durationMs } from '../../schema/gateway-formats.ts';
import {
  type Algorithm,
  BACKOFF_GROWTH,
  type Condition,
  DEFAULTS,
  GRPC_STATUSES,
  MAX_EJECTION,
  type RateLimitKey,
  type SessionType,
} from '../../schema/traffic-policy-values.ts';

// One function for each part of a TrafficPolicy: from what was written to what the waypoint is told, with every default of
// docs/traffic-policy.md applied and durations in milliseconds. Pure; the part has passed schema and checks.

const CONDITIONS: Readonly<Record<Condition, RetryCondition>> = {
  'connect-failure': RetryCondition.CONNECT_FAILURE,
  'refused-stream': RetryCondition.REFUSED_STREAM,
  reset: RetryCondition.RESET,
  'gateway-error': RetryCondition.GATEWAY_ERROR,
  'server-error': RetryCondition.SERVER_ERROR,
  cancelled: RetryCondition.GRPC_CANCELLED,
  'deadline-exceeded': RetryCondition.GRPC_DEADLINE_EXCEEDED,
  internal: RetryCondition.GRPC_INTERNAL,
  'resource-exhausted': RetryCondition.GRPC_RESOURCE_EXHAUSTED,
  unavailable: RetryCondition.GRPC_UNAVAILABLE,
};

const ALGORITHMS: Readonly<Record<Algorithm, LoadBalancing_Algorithm>> = {
  'least-request': LoadBalancing_Algorithm.LEAST_REQUEST,
  'round-robin': LoadBalancing_Algorithm.ROUND_ROBIN,
  random: LoadBalancing_Algorithm.RANDOM,
  ewma: LoadBalancing_Algorithm.EWMA,
  'consistent-hash': LoadBalancing_Algorithm.CONSISTENT_HASH,
};

const RATE_LIMIT_KEYS: Readonly<Record<RateLimitKey, RateLimitRule_Key>> = {
  all: RateLimitRule_Key.ALL,
  'source-identity': RateLimitRule_Key.SOURCE_IDENTITY,
  'source-ip': RateLimitRule_Key.SOURCE_IP,
  header: RateLimitRule_Key.HEADER,
};

const SESSION_TYPES: Readonly<Record<SessionType, SessionPersistence_Type>> = {
  cookie: SessionPersistence_Type.COOKIE,
  header: SessionPersistence_Type.HEADER,
};

/** Naming statuses is the condition that they hold for. */
function conditionsOf(words: readonly Condition[], statuses: readonly number[]): RetryCondition[] {
  const named = words.map((word) => CONDITIONS[word]);
  return statuses.length === 0 ? named : [...named, RetryCondition.STATUS];
}

export function compileRetries(spec: RetriesSpec): Retries {
  const defaults = DEFAULTS.retries;
  const statuses = spec.statuses ?? defaults.statuses;
  const base = durationMs(spec.backoff?.base ?? defaults.backoff.base);
  const { max } = spec.backoff ?? {};
  return create(RetriesSchema, {
    on: conditionsOf(spec.conditions ?? defaults.conditions, statuses),
    statuses: [...statuses],
    attempts: spec.attempts ?? defaults.attempts,
    perTryTimeout: durationMs(spec.perTryTimeout ?? defaults.perTryTimeout),
    backoffBase: base,
    backoffMax: max === undefined ? base * BACKOFF_GROWTH : durationMs(max),
    budget: create(RetryBudgetSchema, {
      percent: spec.budget?.percent ?? defaults.budget.percent,
      window: durationMs(spec.budget?.window ?? defaults.budget.window),
      minPerSecond: spec.budget?.minPerSecond ?? defaults.budget.minPerSecond,
    }),
    retryNonIdempotent: spec.retryNonIdempotent ?? defaults.retryNonIdempotent,
    sameEndpoint: spec.sameEndpoint ?? defaults.sameEndpoint,
    maxBufferedBytes: spec.maxBufferedBytes ?? defaults.maxBufferedBytes,
  });
}

export function compileTimeouts(spec: TimeoutsSpec): Timeouts {
  const { request, idle, connect } = { ...DEFAULTS.timeouts, ...spec };
  return create(TimeoutsSchema, {
    request: durationMs(request),
    idle: durationMs(idle),
    connect: durationMs(connect),
  });
}

/** `service` is the key of the fallback Service; `invalid` says why it cannot be used, and then stands in place of it. */
export function compileFallback(spec: FallbackSpec, service: string, invalid: string | undefined): Fallback {
  const defaults = DEFAULTS.fallback;
  const statuses = spec.statuses ?? defaults.statuses;
  return create(FallbackSchema, {
    service: invalid === undefined ? service : '',
    port: spec.port,
    invalid: invalid ?? '',
    on: conditionsOf(spec.conditions ?? defaults.conditions, statuses),
    statuses: [...statuses],
    onTimeout: spec.onTimeout ?? defaults.onTimeout,
  });
}

export function compileCircuitBreaker(spec: CircuitBreakerSpec): CircuitBreaker {
  return create(CircuitBreakerSchema, { ...DEFAULTS.circuitBreaker, ...spec });
}

export function compileOutlierDetection(spec: OutlierDetectionSpec): OutlierDetection {
  const all = { ...DEFAULTS.outlierDetection, ...spec };
  const baseEjection = durationMs(all.baseEjection);
  const { maxEjection } = spec;
  return create(OutlierDetectionSchema, {
    consecutiveErrors: all.consecutiveErrors,
    consecutiveGatewayErrors: all.consecutiveGatewayErrors,
    interval: durationMs(all.interval),
    baseEjection,
    maxEjection:
      maxEjection === undefined ? Math.max(baseEjection, durationMs(MAX_EJECTION)) : durationMs(maxEjection),
    maxEjectedPercent: all.maxEjectedPercent,
    minHealthPercent: all.minHealthPercent,
  });
}

export function compileLoadBalancing(spec: LoadBalancingSpec): LoadBalancing {
  const { algorithm, hash, slowStart, ignoreLocality } = { ...DEFAULTS.loadBalancing, ...spec };
  return create(LoadBalancingSchema, {
    algorithm: ALGORITHMS[algorithm],
    ...(hash === undefined ? {} : { hash: create(HashKeySchema, { source: hashSource(hash) }) }),
    slowStart: durationMs(slowStart),
    ignoreLocality,
  });
}

function hashSource({ header, cookie, query }: HashSpec) {
  if (header !== undefined) return { case: 'header', value: header.toLowerCase() } as const;
  if (cookie !== undefined) return { case: 'cookie', value: cookie } as const;
  if (query !== undefined) return { case: 'query', value: query } as const;
  return { case: 'sourceIp', value: true } as const;
}

export function compileSessionPersistence(spec: SessionPersistenceSpec): SessionPersistence {
  const { name, type, absoluteTimeout, idleTimeout, permanent } = { ...DEFAULTS.sessionPersistence, ...spec };
  return create(SessionPersistenceSchema, {
    name: type === 'header' ? name.toLowerCase() : name,
    type: SESSION_TYPES[type],
    absoluteTimeout: durationMs(absoluteTimeout),
    idleTimeout: durationMs(idleTimeout),
    permanent,
  });
}

export function compileRateLimit(rules: readonly RateLimitRuleSpec[]): RateLimit {
  const defaults = DEFAULTS.rateLimit.rules;
  return create(RateLimitSchema, {
    rules: rules.map((rule) =>
      create(RateLimitRuleSchema, {
        requests: rule.requests,
        per: durationMs(rule.per),
        burst: rule.burst ?? rule.requests,
        key: RATE_LIMIT_KEYS[rule.key ?? defaults.key],
        header: (rule.header ?? '').toLowerCase(),
        status: rule.status ?? defaults.status,
      }),
    ),
  });
}

export function compileFault({ delay, abort, headers }: FaultInjectionSpec): Fault {
  const defaults = DEFAULTS.faultInjection;
  const grpc = abort?.grpcStatus;
  return create(FaultSchema, {
    delayPercent: delay === undefined ? 0 : (delay.percent ?? defaults.delay.percent),
    delay: delay === undefined ? 0 : durationMs(delay.duration),
    abortPercent: abort === undefined ? 0 : (abort.percent ?? defaults.abort.percent),
    abortStatus: abort?.status ?? 0,
    abortGrpcStatus: grpc === undefined ? -1 : GRPC_STATUSES.indexOf(grpc) + 1,
    headers: (headers ?? []).map(({ name, exact, regex }) =>
      create(ValueMatchSchema, {
        name: name.toLowerCase(),
        how: regex === undefined ? { case: 'exact', value: exact ?? '' } : { case: 'regex', value: regex },
      }),
    ),
  });
}
