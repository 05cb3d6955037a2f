import type { CompiledMatch } from '../compile-matches.ts';
import type { Matched } from '../route-table.ts';

/** One match of one rule under one hostname: what a request is looked up among. */
export interface Entry {
  readonly match: CompiledMatch;
  /** What the look-up answers; made once, so that a request touches little memory of a large table. */
  readonly result: Matched;
  /** How narrow the hostname is, see {@link hostRank}. */
  readonly hostRank: number;
  /** Place by age of the route, namespace, name, rule and match, within one table. */
  readonly order: number;
}

/** Longer than any hostname. */
const EXACT_HOST = 1000;

/** How narrow a hostname is: exact ones before wildcards, longer wildcards before shorter ones, 0 for none. */
export function hostRank(hostname: string | undefined): number {
  if (hostname === undefined) return 0;
  return hostname.startsWith('*.') ? hostname.length : EXACT_HOST + hostname.length;
}

const PATH_RANK = { exact: 3, prefix: 2, regex: 1, any: 0 } as const;

/** How much of the path a match fixes, in characters, to compare matches of one kind. */
function pathLength({ path }: CompiledMatch): number {
  switch (path.kind) {
    case 'exact':
      return path.path.length;
    case 'prefix':
      return path.prefix.length;
    case 'regex':
      return path.regex.pattern.length;
    case 'any':
      return 0;
  }
}

/**
 * Order among entries that all match a request; the first one wins. Gateway API's precedence (HTTPRoute.hostnames and
 * HTTPRouteRule.matches): hostname, exact path, longest prefix, method, most headers, most query parameters, oldest route,
 * namespace/name, first rule, first match. Regexes of paths, which the standard leaves open, stand between prefixes and
 * "any path", the longer text first (docs/decisions/0075).
 */
export function compareEntries(a: Entry, b: Entry): number {
  return (
    b.hostRank - a.hostRank ||
    PATH_RANK[b.match.path.kind] - PATH_RANK[a.match.path.kind] ||
    pathLength(b.match) - pathLength(a.match) ||
    Number(b.match.method !== undefined) - Number(a.match.method !== undefined) ||
    b.match.headers.length - a.match.headers.length ||
    b.match.query.length - a.match.query.length ||
    a.order - b.order
  );
}

/** The one of two results that comes first. */
export function firstOf(a: Entry | undefined, b: Entry | undefined): Entry | undefined {
  if (a === undefined) return b;
  if (b === undefined) return a;
  return compareEntries(a, b) <= 0 ? a : b;
}
