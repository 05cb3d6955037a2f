import { RE2JS } from 're2js';
import { namespaceOf, type TrafficPolicy } from '../model/objects.ts';
import { durationMs } from '../schema/gateway-formats.ts';
import {
  DEFAULTS,
  DURATIONS,
  ENDPOINT_PARTS,
  MAX_EJECTION,
  REQUEST_PARTS,
} from '../schema/traffic-policy-values.ts';
import type { FieldProblem } from '../schema/validate.ts';
import { duplicates, notAllowed, type Path, problem } from './check-helpers.ts';

type Spec = TrafficPolicy['spec'];

const GATEWAY_GROUP = 'gateway.networking.k8s.io';
const SPEC: Path = ['spec'];
const PARTS = [...REQUEST_PARTS, ...ENDPOINT_PARTS];

/**
 * Headers that mean something to HTTP, to proxies or to the mesh: a session's token in one of them would break what it
 * is for, or be believed by somebody.
 */
export const TAKEN_HEADERS =
  /^(host|connection|keep-alive|te|trailer|transfer-encoding|upgrade|via|date|server|location|cookie|set-cookie|authorization|www-authenticate|forwarded|baggage|traceparent|tracestate|b3|content-.*|accept.*|cache-control|proxy-.*|sec-.*|x-forwarded-.*|x-b3-.*|x-request-id|grpc-.*)$/i;

/** RFC 6265bis section 4.1.3, in any case as browsers compare them. */
export const SECURE_PREFIXES = /^__(host|secure)-/i;

/** What the schema of a TrafficPolicy cannot say: docs/traffic-policy.md, "Range". */
export function checkTrafficPolicy(policy: TrafficPolicy): FieldProblem[] {
  const { spec } = policy;
  return [
    ...checkParts(spec),
    ...checkTargets(spec),
    ...checkDurations(spec, '', SPEC),
    ...checkRetries(spec),
    ...checkFallback(policy),
    ...checkOutlierDetection(spec),
    ...checkLoadBalancing(spec),
    ...checkSession(spec),
    ...checkRateLimit(spec),
    ...checkFault(spec),
  ];
}

function checkParts(spec: Spec): FieldProblem[] {
  if (PARTS.some((part) => spec[part] !== undefined)) return [];
  return [problem(SPEC, 'the policy says nothing: it has none of its parts', undefined, PARTS.join(', '))];
}

function checkTargets(spec: Spec): FieldProblem[] {
  const path: Path = ['spec', 'targetRefs'];
  const found = duplicates(spec.targetRefs, ({ kind, name }) => `${kind} ${name}`, path, 'target');
  spec.targetRefs.forEach(({ group = '', kind }, i) => {
    const groups = kind === 'Service' ? ['', 'core'] : [GATEWAY_GROUP];
    if (groups.includes(group)) return;
    const allowed = groups.map((each) => JSON.stringify(each)).join(', ');
    found.push(
      problem([...path, i, 'group'], `${kind} is not in the group ${JSON.stringify(group)}`, group, allowed),
    );
  });
  const route = spec.targetRefs.find(({ kind }) => kind !== 'Service');
  if (route !== undefined) {
    for (const part of ENDPOINT_PARTS) {
      if (spec[part] === undefined) continue;
      const message = `${part} acts on the endpoints of a Service and cannot be set for ${route.kind} ${route.name}: put it into a policy for the Service alone`;
      found.push(problem(['spec', part], message, undefined, REQUEST_PARTS.join(', ')));
    }
  }
  return found;
}

/** Looks for every duration of {@link DURATIONS} in the tree. `at` is the path as it is written there. */
function checkDurations(value: unknown, at: string, path: Path): FieldProblem[] {
  const range = DURATIONS[at];
  if (range !== undefined && typeof value === 'string') {
    const ms = durationMs(value);
    const isNone = range.orNone && ms === 0;
    if (isNone || (ms >= durationMs(range.min) && ms <= durationMs(range.max))) return [];
    return [notAllowed(path, value, `${range.min} to ${range.max}${range.orNone ? ', or 0s for none' : ''}`)];
  }
  if (Array.isArray(value)) return value.flatMap((item, i) => checkDurations(item, `${at}[]`, [...path, i]));
  if (typeof value !== 'object' || value === null) return [];
  return Object.entries(value).flatMap(([key, item]) =>
    checkDurations(item, at === '' ? key : `${at}.${key}`, [...path, key]),
  );
}

function checkRetries({ retries }: Spec): FieldProblem[] {
  const max = retries?.backoff?.max;
  const base = retries?.backoff?.base ?? DEFAULTS.retries.backoff.base;
  if (max === undefined || durationMs(max) >= durationMs(base)) return [];
  const path: Path = ['spec', 'retries', 'backoff', 'max'];
  return [problem(path, `${max} is less than base (${base})`, max, `${base} or more`)];
}

function checkFallback(policy: TrafficPolicy): FieldProblem[] {
  const { fallback, targetRefs } = policy.spec;
  if (fallback === undefined) return [];
  const own = namespaceOf(policy);
  const path: Path = ['spec', 'fallback'];
  const found: FieldProblem[] = [];
  const isOwn = (fallback.namespace ?? own) === own;
  if (isOwn && targetRefs.some(({ kind, name }) => kind === 'Service' && name === fallback.service)) {
    const message = `${fallback.service} is what the policy is for, and cannot be its own fallback`;
    found.push(problem([...path, 'service'], message, fallback.service, 'another Service'));
  }
  const { conditions = DEFAULTS.fallback.conditions, statuses = [], onTimeout = false } = fallback;
  if (conditions.length === 0 && statuses.length === 0 && !onTimeout) {
    const message = 'the fallback would never act';
    found.push(problem(path, message, undefined, 'at least one of conditions, statuses and onTimeout'));
  }
  return found;
}

function checkOutlierDetection({ outlierDetection }: Spec): FieldProblem[] {
  if (outlierDetection === undefined) return [];
  const path: Path = ['spec', 'outlierDetection'];
  const { consecutiveErrors = DEFAULTS.outlierDetection.consecutiveErrors, consecutiveGatewayErrors = 0 } =
    outlierDetection;
  const { baseEjection = DEFAULTS.outlierDetection.baseEjection, maxEjection = MAX_EJECTION } =
    outlierDetection;
  const found: FieldProblem[] = [];
  if (consecutiveErrors === 0 && consecutiveGatewayErrors === 0) {
    const message = 'nothing would be detected: both counts are 0';
    found.push(
      problem(path, message, undefined, 'consecutiveErrors or consecutiveGatewayErrors of 1 or more'),
    );
  }
  if (outlierDetection.maxEjection !== undefined && durationMs(maxEjection) < durationMs(baseEjection)) {
    const message = `${maxEjection} is less than baseEjection (${baseEjection})`;
    found.push(problem([...path, 'maxEjection'], message, maxEjection, `${baseEjection} or more`));
  }
  return found;
}

function checkLoadBalancing({ loadBalancing }: Spec): FieldProblem[] {
  if (loadBalancing === undefined) return [];
  const path: Path = ['spec', 'loadBalancing'];
  const { algorithm = DEFAULTS.loadBalancing.algorithm, hash, slowStart = '0s' } = loadBalancing;
  const found: FieldProblem[] = [];
  const isHash = algorithm === 'consistent-hash';
  if (isHash && durationMs(slowStart) > 0) {
    const message = 'slowStart has no meaning with algorithm consistent-hash';
    found.push(problem([...path, 'slowStart'], message, slowStart, '0s'));
  }
  if (hash === undefined) {
    const message = 'missing field "hash", which algorithm consistent-hash needs';
    return isHash ? [...found, problem(path, message, undefined, 'header, cookie, query, sourceIp')] : found;
  }
  if (!isHash) {
    const message = `hash has no meaning with algorithm ${algorithm}`;
    found.push(problem([...path, 'hash'], message, undefined, 'only with algorithm consistent-hash'));
  }
  if (hash.sourceIp === false) found.push(notAllowed([...path, 'hash', 'sourceIp'], false, 'true'));
  if (Object.keys(hash).length !== 1) {
    const message = 'exactly one key must be set';
    found.push(problem([...path, 'hash'], message, hash, 'one of header, cookie, query, sourceIp'));
  }
  return found;
}

function checkSession({ sessionPersistence }: Spec): FieldProblem[] {
  if (sessionPersistence === undefined) return [];
  const path: Path = ['spec', 'sessionPersistence'];
  const { name, type = DEFAULTS.sessionPersistence.type, permanent = false } = sessionPersistence;
  const { absoluteTimeout = '0s', idleTimeout = '0s' } = sessionPersistence;
  const found: FieldProblem[] = [];
  if (type === 'header' && TAKEN_HEADERS.test(name)) {
    const message = `the header ${name} has a meaning of its own`;
    found.push(problem([...path, 'name'], message, name, 'a header that only the session uses'));
  }
  if (type === 'cookie' && SECURE_PREFIXES.test(name)) {
    const message = `browsers refuse a cookie ${name} that is not Secure, and this one is not`;
    found.push(problem([...path, 'name'], message, name, 'a name without the prefix __Host- or __Secure-'));
  }
  if (permanent && (type !== 'cookie' || durationMs(absoluteTimeout) === 0)) {
    const message = 'only a cookie with an absoluteTimeout can be permanent';
    found.push(
      problem([...path, 'permanent'], message, true, 'false, or type cookie and an absoluteTimeout'),
    );
  }
  if (durationMs(absoluteTimeout) > 0 && durationMs(idleTimeout) > durationMs(absoluteTimeout)) {
    const message = `${idleTimeout} is more than absoluteTimeout (${absoluteTimeout})`;
    found.push(problem([...path, 'idleTimeout'], message, idleTimeout, `${absoluteTimeout} or less`));
  }
  return found;
}

function checkRateLimit({ rateLimit }: Spec): FieldProblem[] {
  return (rateLimit?.rules ?? []).flatMap(({ key = DEFAULTS.rateLimit.rules.key, header }, i) => {
    const path: Path = ['spec', 'rateLimit', 'rules', i];
    if (key === 'header' && header === undefined)
      return [problem(path, 'missing field "header", which key header needs')];
    if (key !== 'header' && header !== undefined) {
      const message = `header has no meaning with key ${key}`;
      return [problem([...path, 'header'], message, header, 'only with key header')];
    }
    return [];
  });
}

function checkFault({ faultInjection }: Spec): FieldProblem[] {
  const { delay, abort, headers = [] } = faultInjection ?? {};
  const path: Path = ['spec', 'faultInjection'];
  const found: FieldProblem[] = [];
  if (abort !== undefined && abort.status === undefined && abort.grpcStatus === undefined) {
    const message = 'missing what to answer';
    found.push(problem([...path, 'abort'], message, undefined, 'status, grpcStatus or both'));
  }
  if (headers.length > 0 && delay === undefined && abort === undefined)
    found.push(problem(path, 'headers without a fault do nothing', undefined, 'delay, abort or both'));
  headers.forEach(({ exact, regex }, i) => {
    const at: Path = [...path, 'headers', i];
    if ((exact === undefined) === (regex === undefined))
      found.push(problem(at, 'exactly one of exact and regex must be set'));
    const wrong = regex === undefined ? undefined : regexError(regex);
    if (wrong !== undefined)
      found.push(
        problem([...at, 'regex'], `the regular expression is wrong: ${wrong}`, regex, 'an RE2 expression'),
      );
  });
  return found;
}

function regexError(regex: string): string | undefined {
  try {
    RE2JS.compile(regex);
    return undefined;
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}
