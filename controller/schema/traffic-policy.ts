import { metadata, PORT, topLevel } from './core.ts';
import { BOOLEAN, list, oneOf, OPAQUE, record, type Schema, text } from './dsl.ts';
import {
  ALGORITHMS,
  CONDITIONS,
  GRPC_STATUSES,
  RATE_LIMIT_KEYS,
  SESSION_TYPES,
  TARGET_KINDS,
} from './traffic-policy-values.ts';

// Fields and bounds: docs/traffic-policy.md. What holds between fields, and the ranges of durations, are in
// ../sources/check-traffic-policy.ts.

const MAX_TARGETS = 16;
const MAX_STATUSES = 20;
const MAX_RULES = 16;
const MAX_HEADERS = 16;
const MAX_COUNT = 1_000_000;
const MAX_BUFFER = 1_048_576;

const integer = (minimum: number, maximum: number): Schema => ({ type: 'integer', minimum, maximum });
const upTo = (max: number, items: Schema, min = 0): Schema => ({ ...list(items, min), maxItems: max });
const short = (maxLength: number): Schema => ({ type: 'string', minLength: 1, maxLength });

const DURATION = text('gateway-duration');
const PERCENT = integer(0, 100);
const FRACTION: Schema = { type: 'number', minimum: 0, maximum: 100 };
const COUNT = integer(0, MAX_COUNT);
const HEADER_NAME = text('header-name');
const ERRORS_IN_A_ROW = integer(0, 1000);
const ERROR_STATUS = integer(400, 599);
const STATUSES: Schema = { ...upTo(MAX_STATUSES, ERROR_STATUS), uniqueItems: true };

function conditions(minItems: number): Schema {
  return { ...upTo(CONDITIONS.length, oneOf(...CONDITIONS), minItems), uniqueItems: true };
}

const TARGET = record({ group: { type: 'string' }, kind: oneOf(...TARGET_KINDS), name: text('subdomain') }, [
  'kind',
  'name',
]);

const RETRIES = record({
  conditions: conditions(1),
  statuses: STATUSES,
  attempts: integer(0, 10),
  perTryTimeout: DURATION,
  backoff: record({ base: DURATION, max: DURATION }),
  budget: record({ percent: PERCENT, window: DURATION, minPerSecond: integer(0, 10_000) }),
  retryNonIdempotent: BOOLEAN,
  sameEndpoint: BOOLEAN,
  maxBufferedBytes: integer(0, MAX_BUFFER),
});

const FALLBACK = record(
  {
    service: text('dns-label'),
    namespace: text('dns-label'),
    port: PORT,
    conditions: conditions(0),
    statuses: STATUSES,
    onTimeout: BOOLEAN,
  },
  ['service', 'port'],
);

const LOAD_BALANCING = record({
  algorithm: oneOf(...ALGORITHMS),
  hash: record({ header: HEADER_NAME, cookie: HEADER_NAME, query: short(256), sourceIp: BOOLEAN }),
  slowStart: DURATION,
  ignoreLocality: BOOLEAN,
});

const SESSION_PERSISTENCE = record(
  {
    name: { ...HEADER_NAME, maxLength: 128 },
    type: oneOf(...SESSION_TYPES),
    absoluteTimeout: DURATION,
    idleTimeout: DURATION,
    permanent: BOOLEAN,
  },
  ['name'],
);

const RATE_LIMIT_RULE = record(
  {
    requests: integer(1, MAX_COUNT),
    per: DURATION,
    burst: integer(1, MAX_COUNT),
    key: oneOf(...RATE_LIMIT_KEYS),
    header: HEADER_NAME,
    status: ERROR_STATUS,
  },
  ['requests', 'per'],
);

const FAULT = record({
  delay: record({ percent: FRACTION, duration: DURATION }, ['duration']),
  abort: record({ percent: FRACTION, status: integer(200, 599), grpcStatus: oneOf(...GRPC_STATUSES) }),
  headers: upTo(
    MAX_HEADERS,
    record({ name: HEADER_NAME, exact: { type: 'string', maxLength: 4096 }, regex: short(1024) }, ['name']),
  ),
});

/** `spec` of a TrafficPolicy. */
export const TRAFFIC_POLICY_SPEC: Schema = record(
  {
    targetRefs: upTo(MAX_TARGETS, TARGET, 1),
    retries: RETRIES,
    timeouts: record({ request: DURATION, idle: DURATION, connect: DURATION }),
    fallback: FALLBACK,
    circuitBreaker: record({
      maxConnections: COUNT,
      maxPendingRequests: COUNT,
      maxRequests: COUNT,
      maxRequestsPerConnection: COUNT,
    }),
    outlierDetection: record({
      consecutiveErrors: ERRORS_IN_A_ROW,
      consecutiveGatewayErrors: ERRORS_IN_A_ROW,
      interval: DURATION,
      baseEjection: DURATION,
      maxEjection: DURATION,
      maxEjectedPercent: PERCENT,
      minHealthPercent: PERCENT,
    }),
    loadBalancing: LOAD_BALANCING,
    sessionPersistence: SESSION_PERSISTENCE,
    rateLimit: record({ rules: upTo(MAX_RULES, RATE_LIMIT_RULE) }, ['rules']),
    faultInjection: FAULT,
  },
  ['targetRefs'],
);

/** loam.dev/v1 TrafficPolicy. */
export const TRAFFIC_POLICY: Schema = topLevel(
  metadata('subdomain', true),
  { spec: TRAFFIC_POLICY_SPEC, status: OPAQUE },
  ['spec'],
);
