import type { Route, RouteRule } from '../../../../proto/gen/loam/waypoint/v1/waypoint_pb.js';
import { compileMatch, MATCH_ALL, type CompiledMatch } from './compile-matches.ts';
import { checkFilters } from './filters/check-filters.ts';
import { RouteError, type Refuse } from './route-error.ts';
import { Phase } from './weights/phase.ts';
import { WeightedChoice } from './weights/weighted-choice.ts';

/** A rule with everything worked out that a request needs. Lives as long as its Route message. */
export interface CompiledRule {
  readonly route: Route;
  readonly rule: RouteRule;
  readonly index: number;
  /** Never empty. In the order of `rule.matches`. */
  readonly matches: readonly CompiledMatch[];
  /** Which backend takes a request; keeps its place in the sequence over rebuilds of the table. */
  readonly choice: WeightedChoice;
}

export interface CompiledRoute {
  readonly route: Route;
  /** In lower case; empty: all. */
  readonly hostnames: readonly string[];
  readonly rules: readonly CompiledRule[];
}

const compiled = new WeakMap<Route, CompiledRoute>();

/**
 * Compiles a Route, once for each message: a table that is built again costs no regular expression of routes that stayed.
 * Also the check whether a Route that came can be used at all, before it replaces its former version.
 *
 * @param former the version that this one replaces: rules of the same index go on in their sequence of backends.
 * @throws RouteError naming route, rule, field, value and what is allowed.
 */
export function compileRoute(route: Route, former?: Route): CompiledRoute {
  const known = compiled.get(route);
  if (known !== undefined) return known;
  const before = former === undefined ? undefined : compiled.get(former);
  const result: CompiledRoute = {
    route,
    hostnames: route.hostnames.map((name) => name.toLowerCase()),
    rules: route.rules.map((rule, index) => compileRule(route, rule, index, before?.rules[index])),
  };
  compiled.set(route, result);
  return result;
}

function compileRule(
  route: Route,
  rule: RouteRule,
  index: number,
  former: CompiledRule | undefined,
): CompiledRule {
  const refuse: Refuse = (field, value, allowed, cause) => {
    const problem = { route: routeName(route), rule: ruleName(rule, index), field, value, allowed };
    throw new RouteError(problem, { cause });
  };
  const matches =
    rule.matches.length === 0
      ? [MATCH_ALL]
      : rule.matches.map((match, i) => compileMatch(match, `matches[${i}]`, refuse));
  const prefixOnly = matches.every(({ path }) => path.kind === 'prefix' || path.kind === 'any');
  checkFilters(rule.filters, 'filters', prefixOnly, refuse);
  for (const [i, backend] of rule.backends.entries()) {
    checkFilters(backend.filters, `backends[${i}].filters`, prefixOnly, refuse);
  }
  const phase = former?.choice.phase ?? new Phase();
  return { route, rule, index, matches, choice: new WeightedChoice(rule.backends, phase) };
}

function routeName(route: Route): string {
  return `${route.kind} ${route.namespace}/${route.name}`;
}

function ruleName(rule: RouteRule, index: number): string {
  return rule.name === '' ? `rules[${index}]` : `rules[${index}] (${rule.name})`;
}
