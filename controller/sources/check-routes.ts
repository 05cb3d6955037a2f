import { RE2JS } from 're2js';
import type {
  GrpcMatch,
  GrpcRule,
  HttpMatch,
  HttpRule,
  NamedMatch,
  ParentRef,
  RouteSessionPersistence,
} from '../model/gateway-api.ts';
import type { GRPCRoute, HTTPRoute } from '../model/objects.ts';
import { durationMs } from '../schema/gateway-formats.ts';
import type { FieldProblem } from '../schema/validate.ts';
import { duplicates, notAllowed, type Path, problem } from './check-helpers.ts';
import { checkFilters } from './check-route-filters.ts';

/** Over all rules of a route (CEL rule of the CRD). */
const MAX_MATCHES_OF_ROUTE = 128;
const PATH_CHARS = /^(?:[-A-Za-z0-9/._~!$&'()*+,;=:@]|%[0-9a-fA-F]{2})+$/;
const BAD_IN_PATH = ['//', '/./', '/../', '%2f', '%2F'];
const BAD_AT_END = ['/..', '/.'];
const GRPC_SERVICE = /^\.?[a-z_][a-z_0-9]*(\.[a-z_][a-z_0-9]*)*$/i;
const GRPC_METHOD = /^[A-Za-z_][A-Za-z_0-9]*$/;

/** The rules between the fields of a route (Gateway API 1.4: CEL rules of the CRDs, and its words on conflicts). */
export function checkRoute(route: HTTPRoute | GRPCRoute): FieldProblem[] {
  const { parentRefs = [], hostnames = [] } = route.spec;
  const rules: readonly (HttpRule | GrpcRule)[] = route.spec.rules ?? [];
  const matches = rules.reduce((sum, rule) => sum + (rule.matches?.length ?? 1), 0);
  return [
    ...parentRefs.flatMap((parent, i) => checkParent(parent, ['spec', 'parentRefs', i])),
    ...duplicates(parentRefs, parentKey, ['spec', 'parentRefs'], 'parent'),
    ...duplicates(hostnames, (name) => name, ['spec', 'hostnames'], 'hostname'),
    ...duplicates(rules, ({ name }) => name, ['spec', 'rules'], 'rule name'),
    ...(matches > MAX_MATCHES_OF_ROUTE
      ? [
          problem(
            ['spec', 'rules'],
            'too many matches in all rules together',
            matches,
            `at most ${MAX_MATCHES_OF_ROUTE}`,
          ),
        ]
      : []),
    ...(route.kind === 'HTTPRoute'
      ? (route.spec.rules ?? []).flatMap((rule, i) => checkHttpRule(rule, ['spec', 'rules', i]))
      : (route.spec.rules ?? []).flatMap((rule, i) => checkGrpcRule(rule, ['spec', 'rules', i]))),
  ];
}

function parentKey({ namespace = '', name, port = 0 }: ParentRef): string {
  return `${namespace}/${name}/${port}`;
}

/** Loam has no ingress, so a route is attached to Services alone. */
function checkParent({ group, kind = 'Gateway', sectionName }: ParentRef, path: Path): FieldProblem[] {
  if (kind !== 'Service') {
    const why = kind === 'Gateway' ? 'Loam has no ingress: routes are attached to Services' : 'not supported';
    return [problem([...path, 'kind'], `a parent of kind ${kind} is not allowed: ${why}`, kind, 'Service')];
  }
  // Left out it means gateway.networking.k8s.io, where there is no Service.
  if (group !== '' && group !== 'core') {
    const message = group === undefined ? 'group is missing: a Service needs group: ""' : `not a Service's`;
    return [problem([...path, 'group'], message, group, '""')];
  }
  if (sectionName !== undefined)
    return [problem([...path, 'sectionName'], 'a Service has no sections: use port', sectionName)];
  return [];
}

function checkHttpRule(rule: HttpRule, path: Path): FieldProblem[] {
  const { matches = [], timeouts = {}, retry } = rule;
  const found = matches.flatMap((match, i) => checkHttpMatch(match, [...path, 'matches', i]));
  const prefixOnly = matches.every(({ path: by }) => (by?.type ?? 'PathPrefix') === 'PathPrefix');
  found.push(...checkFilters(rule, prefixOnly, path));
  const { request, backendRequest } = timeouts;
  const total = request === undefined ? 0 : durationMs(request);
  if (backendRequest !== undefined && total > 0 && durationMs(backendRequest) > total) {
    found.push(
      problem(
        [...path, 'timeouts', 'backendRequest'],
        'the timeout of one attempt is longer than that of the whole request',
        backendRequest,
        `at most ${request}`,
      ),
    );
  }
  found.push(...duplicates(retry?.codes ?? [], String, [...path, 'retry', 'codes'], 'status'));
  return [...found, ...checkSessions(rule.sessionPersistence, path)];
}

function checkHttpMatch({ path: by, headers = [], queryParams = [] }: HttpMatch, at: Path): FieldProblem[] {
  const found = [
    ...checkNamed(headers, [...at, 'headers'], (name) => name.toLowerCase()),
    ...checkNamed(queryParams, [...at, 'queryParams'], (name) => name),
  ];
  const { type = 'PathPrefix', value = '/' } = by ?? {};
  const path = [...at, 'path', 'value'];
  if (type === 'RegularExpression') return [...found, ...checkRegex(value, path)];
  const bad = BAD_IN_PATH.find((part) => value.includes(part));
  const end = BAD_AT_END.find((part) => value.endsWith(part));
  if (!value.startsWith('/')) found.push(notAllowed(path, value, 'a path that begins with "/"'));
  else if (bad !== undefined) found.push(notAllowed(path, value, `a path without "${bad}"`));
  else if (end !== undefined) found.push(notAllowed(path, value, `a path that does not end with "${end}"`));
  else if (!PATH_CHARS.test(value))
    found.push(notAllowed(path, value, "letters, digits, -/._~!$&'()*+,;=:@ and % with two hex digits"));
  return found;
}

/** Gateway API takes only the first of several with one name; we refuse what would have no effect. */
function checkNamed(
  matches: readonly NamedMatch[],
  path: Path,
  nameOf: (name: string) => string,
): FieldProblem[] {
  return [
    ...duplicates(matches, ({ name }) => nameOf(name), path, 'name'),
    ...matches.flatMap(({ type, value }, i) =>
      type === 'RegularExpression' ? checkRegex(value, [...path, i, 'value']) : [],
    ),
  ];
}

/** Regular expressions are RE2's, which take linear time whatever the request. */
function checkRegex(value: string, path: Path): FieldProblem[] {
  try {
    RE2JS.compile(value);
    return [];
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    return [notAllowed(path, value, `a regular expression of RE2 (${why})`)];
  }
}

function checkGrpcRule(rule: GrpcRule, path: Path): FieldProblem[] {
  return [
    ...(rule.matches ?? []).flatMap((match, i) => checkGrpcMatch(match, [...path, 'matches', i])),
    ...checkFilters(rule, false, path),
    ...checkSessions(rule.sessionPersistence, path),
  ];
}

function checkGrpcMatch({ method: by, headers = [] }: GrpcMatch, at: Path): FieldProblem[] {
  const found = checkNamed(headers, [...at, 'headers'], (name) => name.toLowerCase());
  if (by === undefined) return found;
  const { type = 'Exact', service, method } = by;
  const path = [...at, 'method'];
  if ((service ?? '') === '' && (method ?? '') === '')
    return [...found, problem(path, 'service or method is missing')];
  for (const [field, value, form] of [
    ['service', service, GRPC_SERVICE],
    ['method', method, GRPC_METHOD],
  ] as const) {
    if (value === undefined || value === '') continue;
    if (type === 'RegularExpression') found.push(...checkRegex(value, [...path, field]));
    else if (!form.test(value))
      found.push(notAllowed([...path, field], value, 'a name as protobuf has it, without "/"'));
  }
  return found;
}

/** GEP-1619: a cookie that outlives the browser session needs an end. */
function checkSessions(sessions: RouteSessionPersistence | undefined, path: Path): FieldProblem[] {
  if (sessions === undefined) return [];
  const at = [...path, 'sessionPersistence'];
  const { cookieConfig, absoluteTimeout, type = 'Cookie' } = sessions;
  if (type === 'Header' && cookieConfig !== undefined)
    return [problem([...at, 'cookieConfig'], 'a session in a header has no cookie')];
  if (cookieConfig?.lifetimeType === 'Permanent' && absoluteTimeout === undefined)
    return [problem([...at, 'absoluteTimeout'], 'absoluteTimeout is missing: the cookie is Permanent')];
  return [];
}
