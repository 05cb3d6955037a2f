import { createHash } from 'node:crypto';
import { create } from '@bufbuild/protobuf';
import {
  type Backend,
  BackendSchema,
  type Filter,
  type RouteRetry,
  RouteRetrySchema,
  type RouteRule,
  RouteRuleSchema,
  type SessionPersistence,
  SessionPersistence_Type,
  SessionPersistenceSchema,
} from '../../../proto/gen/loam/waypoint/v1/waypoint_pb.js';
import type {
  BackendRef,
  GrpcFilter,
  GrpcRule,
  HttpFilter,
  HttpRule,
  RouteRetry as RetrySpec,
  RouteSessionPersistence,
} from '../../model/gateway-api.ts';
import { durationMs } from '../../schema/gateway-formats.ts';
import { compileFilters, type Resolve } from './filters.ts';
import { compileGrpcMatch, compileHttpMatch } from './matches.ts';
import { waypointServiceKey } from './services.ts';

/** GEP-1731 leaves both to implementations; these are Istio's. */
const DEFAULT_RETRIES = 2;
const DEFAULT_BACKOFF_MS = 25;
const DEFAULT_WEIGHT = 1;

/** A rule of an HTTPRoute. `identity` names the rule in the mesh: default names of sessions are made of it. */
export function compileHttpRule(rule: HttpRule, identity: string, resolve: Resolve): RouteRule {
  const { timeouts = {}, retry } = rule;
  return create(RouteRuleSchema, {
    ...shared(rule, identity, resolve),
    matches: (rule.matches ?? []).map(compileHttpMatch),
    requestTimeout: durationMs(timeouts.request ?? ''),
    backendRequestTimeout: durationMs(timeouts.backendRequest ?? ''),
    ...(retry === undefined ? {} : { retry: retryOf(retry) }),
  });
}

/** A rule of a GRPCRoute. */
export function compileGrpcRule(rule: GrpcRule, identity: string, resolve: Resolve): RouteRule {
  return create(RouteRuleSchema, {
    ...shared(rule, identity, resolve),
    matches: (rule.matches ?? []).map(compileGrpcMatch),
  });
}

interface SharedFields {
  readonly name: string;
  readonly filters: Filter[];
  readonly backends: Backend[];
  readonly sessionPersistence?: SessionPersistence;
}

function shared(rule: HttpRule | GrpcRule, identity: string, resolve: Resolve): SharedFields {
  const backends: readonly BackendRef<HttpFilter | GrpcFilter>[] = rule.backendRefs ?? [];
  const { sessionPersistence } = rule;
  return {
    name: rule.name ?? '',
    filters: compileFilters(rule.filters ?? [], resolve),
    backends: backends.map((backend) => backendOf(backend, resolve)),
    ...(sessionPersistence === undefined
      ? {}
      : { sessionPersistence: sessionOf(sessionPersistence, identity) }),
  };
}

function backendOf(backend: BackendRef<HttpFilter | GrpcFilter>, resolve: Resolve): Backend {
  const resolved = resolve(backend);
  const filters = compileFilters(backend.filters ?? [], resolve);
  const weight = backend.weight ?? DEFAULT_WEIGHT;
  if (resolved.state === 'invalid') {
    const invalid = `${resolved.reason}: ${resolved.why}`;
    return create(BackendSchema, { weight, filters, invalid });
  }
  const service = waypointServiceKey(resolved.service);
  return create(BackendSchema, { service, port: resolved.port, weight, filters });
}

function retryOf({ codes = [], attempts, backoff }: RetrySpec): RouteRetry {
  return create(RouteRetrySchema, {
    codes: [...codes].sort((a, b) => a - b),
    attempts: attempts ?? DEFAULT_RETRIES,
    backoff: backoff === undefined ? DEFAULT_BACKOFF_MS : durationMs(backoff),
  });
}

function sessionOf(spec: RouteSessionPersistence, identity: string): SessionPersistence {
  return create(SessionPersistenceSchema, {
    name: spec.sessionName ?? `loam-session-${hashOf(identity)}`,
    type: spec.type === 'Header' ? SessionPersistence_Type.HEADER : SessionPersistence_Type.COOKIE,
    absoluteTimeout: durationMs(spec.absoluteTimeout ?? ''),
    idleTimeout: durationMs(spec.idleTimeout ?? ''),
    permanent: spec.cookieConfig?.lifetimeType === 'Permanent',
  });
}

function hashOf(text: string): string {
  return createHash('sha256').update(text).digest('hex').slice(0, 8);
}
