import { create, type DescField, type DescMessage } from '@bufbuild/protobuf';
import {
  BackendSchema,
  type Resource,
  ResourceSchema,
  type Route,
  type RouteMatch,
  type RouteRule,
  FaultSchema,
} from '../../proto/gen/loam/waypoint/v1/waypoint_pb.js';

/** Fields from this number on must not be passed over by who does not know them (proto/loam/waypoint/v1). */
const FIRST_CRITICAL = 1_000;
/** What says which requests are meant, or what is done to them, is not itself without one of its parts. */
const CRITICAL_WITHIN: ReadonlySet<string> = new Set(
  ['RouteMatch', 'Filter'].map((name) => `loam.waypoint.v1.${name}`),
);
/** Authorisation reads its own messages: there, every unknown field denies (decision 0077). */
const READ_ELSEWHERE: ReadonlySet<string> = new Set(['authorization', 'authentication']);
/** A name that no policy has, so that it denies. */
const NO_POLICY = '/newer-than-this-waypoint';
const ALWAYS = 100;

/** A resource in the form in which it is put to use, and what of it could not be passed over. */
export interface StrictForm {
  readonly resource: Resource;
  readonly problems: readonly string[];
}

/**
 * Gives a resource with parts from a newer controller its fail-closed form (decision 0030): a rule of a route of which
 * something is not understood answers 500, a Service denies, a traffic policy answers 500. What may be passed over is.
 *
 * @throws Error for settings, which have no such form
 */
export function strictForm(resource: Resource): StrictForm {
  const { kind } = resource;
  if (kind.case === undefined || READ_ELSEWHERE.has(kind.case)) return { resource, problems: [] };
  const found = [...criticalParts(ResourceSchema, resource, '', false)].map((at) => at.slice(1));
  if (found.length === 0) return { resource, problems: [] };
  const problems = found.map((at) => `${at} is not known to this waypoint, and must not be passed over`);
  const strict = (changed: Resource['kind'], what: string): StrictForm => ({
    resource: { ...resource, kind: changed },
    problems: problems.map((problem) => `${problem}: ${what}`),
  });
  switch (kind.case) {
    case 'route':
      return strict(
        { case: 'route', value: strictRoute(kind.value, found) },
        'its requests are answered with 500',
      );
    case 'service': {
      const value = { ...kind.value, authorization: [...kind.value.authorization, NO_POLICY] };
      return strict({ case: 'service', value }, 'its requests are denied');
    }
    case 'trafficPolicy': {
      const fault = create(FaultSchema, { abortPercent: ALWAYS, abortStatus: 500, abortGrpcStatus: -1 });
      return strict(
        { case: 'trafficPolicy', value: { ...kind.value, fault } },
        'requests are answered with 500',
      );
    }
    default:
      throw new Error(problems.join('; '));
  }
}

function strictRoute(route: Route, found: readonly string[]): Route {
  const ofRules = /^route\.rules\[(\d+)\]/;
  const rules = new Set(found.map((at) => ofRules.exec(at)?.[1]));
  // Without a number: it stands outside of the rules, and so concerns all of them.
  const all = rules.has(undefined);
  return {
    ...route,
    rules: route.rules.map((rule, i) => (all || rules.has(String(i)) ? refusing(rule) : rule)),
  };
}

/** Meant for no fewer requests than the rule is, and answers them with 500. */
function refusing(rule: RouteRule): RouteRule {
  const invalid = 'a part of the rule is newer than this waypoint';
  return {
    ...rule,
    matches: rule.matches.map(understood),
    filters: [],
    backends: [create(BackendSchema, { invalid, weight: 1 })],
  };
}

function understood(match: RouteMatch): RouteMatch {
  const { path, ...rest } = match;
  return {
    ...rest,
    ...(path?.how.case !== undefined && { path }),
    headers: match.headers.filter(({ how }) => how.case !== undefined),
    query: match.query.filter(({ how }) => how.case !== undefined),
  };
}

type Fields = Readonly<Record<string, unknown>> & {
  readonly $unknown?: readonly { readonly no: number }[] | undefined;
};

/** Where there are unknown fields that must not be passed over, as paths that begin with a dot. */
function* criticalParts(
  schema: DescMessage,
  message: object,
  at: string,
  within: boolean,
): Generator<string> {
  const fields = message as Fields;
  const strict = within || CRITICAL_WITHIN.has(schema.typeName);
  for (const { no } of fields.$unknown ?? []) if (strict || no >= FIRST_CRITICAL) yield `${at}.field ${no}`;
  for (const field of schema.fields) {
    const inner = field.message;
    if (inner === undefined) continue;
    const value = valueOf(fields, field);
    const path = `${at}.${field.localName}`;
    if (Array.isArray(value))
      for (const [i, each] of (value as object[]).entries())
        yield* criticalParts(inner, each, `${path}[${i}]`, strict);
    else if (typeof value === 'object' && value !== null) yield* criticalParts(inner, value, path, strict);
  }
}

function valueOf(fields: Fields, field: DescField): unknown {
  if (field.oneof === undefined) return fields[field.localName];
  const chosen = fields[field.oneof.localName] as { readonly case?: string; readonly value?: unknown };
  return chosen.case === field.localName ? chosen.value : undefined;
}
