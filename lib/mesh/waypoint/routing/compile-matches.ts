import { RE2JS } from 're2js';
import type {
  PathMatch,
  RouteMatch,
  ValueMatch,
} from '../../../../proto/gen/loam/waypoint/v1/waypoint_pb.js';
import { assertNever } from '../../../assert-never.ts';
import { normalisePath } from '../normalise-path.ts';
import type { Refuse } from './route-error.ts';

/** A test of a whole text, in time linear in its length. */
export interface FullMatch {
  readonly pattern: string;
  /** Size of its program: a test takes at most time in proportion to this and the length of the text. */
  readonly cost: number;
  test(text: string): boolean;
}

/** What a match asks of the path. */
export type CompiledPath =
  | { readonly kind: 'exact'; readonly path: string }
  /** Without a slash at its end; never empty, since the prefix `/` asks for nothing: that is `any`. */
  | { readonly kind: 'prefix'; readonly prefix: string }
  | { readonly kind: 'regex'; readonly regex: FullMatch }
  | { readonly kind: 'any' };

/** What a match asks of one header or query parameter. */
export type CompiledValue =
  | { readonly name: string; readonly exact: string; readonly regex: undefined }
  | { readonly name: string; readonly exact: undefined; readonly regex: FullMatch };

export interface CompiledMatch {
  readonly path: CompiledPath;
  /** `undefined`: any. */
  readonly method: string | undefined;
  /** Of one name only the first counts, as Gateway API has it. */
  readonly headers: readonly CompiledValue[];
  readonly query: readonly CompiledValue[];
}

/** A rule without matches takes every request. */
export const MATCH_ALL: CompiledMatch = {
  path: { kind: 'any' },
  method: undefined,
  headers: [],
  query: [],
};

/** Compiles one match of a rule; `field` is its path in the rule, for errors. */
export function compileMatch(match: RouteMatch, field: string, refuse: Refuse): CompiledMatch {
  return {
    path: compilePath(match.path, `${field}.path`, refuse),
    method: match.method === '' ? undefined : match.method,
    headers: compileValues(match.headers, (name) => name.toLowerCase(), `${field}.headers`, refuse),
    query: compileValues(match.query, (name) => name, `${field}.query`, refuse),
  };
}

function compilePath(path: PathMatch | undefined, field: string, refuse: Refuse): CompiledPath {
  const how = path?.how;
  switch (how?.case) {
    case undefined:
      return { kind: 'any' };
    case 'exact':
      return { kind: 'exact', path: configuredPath(how.value, `${field}.exact`, refuse) };
    case 'prefix': {
      const prefix = withoutTrailingSlash(configuredPath(how.value, `${field}.prefix`, refuse));
      return prefix === '' ? { kind: 'any' } : { kind: 'prefix', prefix };
    }
    case 'regex':
      return { kind: 'regex', regex: compileRegex(how.value, `${field}.regex`, refuse) };
    default:
      return assertNever(how, 'path match');
  }
}

/** Requests are compared in the normal form, so that a path written in another one would never match. */
function configuredPath(path: string, field: string, refuse: Refuse): string {
  const normalised = normalisePath(path);
  if (normalised.ok) return normalised.path;
  return refuse(
    field,
    path,
    'a path that a request can have (docs/path-normalisation.md)',
    normalised.problem,
  );
}

/** `/a/` as `/a`, and `/` as the empty text: the form in which prefixes are compared and replaced. */
export function withoutTrailingSlash(path: string): string {
  let end = path.length;
  while (end > 0 && path.charCodeAt(end - 1) === 0x2f) end -= 1;
  return path.slice(0, end);
}

function compileValues(
  values: readonly ValueMatch[],
  nameOf: (name: string) => string,
  field: string,
  refuse: Refuse,
): CompiledValue[] {
  const byName = new Map<string, CompiledValue>();
  for (const [index, value] of values.entries()) {
    const name = nameOf(value.name);
    const at = `${field}[${index}]`;
    if (name === '') refuse(`${at}.name`, name, 'a name');
    if (byName.has(name)) continue;
    switch (value.how.case) {
      case 'exact':
        byName.set(name, { name, exact: value.how.value, regex: undefined });
        break;
      case 'regex':
        byName.set(name, {
          name,
          exact: undefined,
          regex: compileRegex(value.how.value, `${at}.regex`, refuse),
        });
        break;
      case undefined:
        refuse(at, name, 'exact or regex');
        break;
      default:
        assertNever(value.how, 'value match');
    }
  }
  return [...byName.values()];
}

function compileRegex(pattern: string, field: string, refuse: Refuse): FullMatch {
  try {
    const compiled = RE2JS.compile(pattern);
    return { pattern, cost: compiled.programSize(), test: (text) => compiled.testExact(text) };
  } catch (error) {
    return refuse(field, pattern, 'a regular expression of RE2', error);
  }
}
