import type { Parent, Route, RouteMatch } from '../../../../proto/gen/loam/waypoint/v1/waypoint_pb.js';
import type { RequestHead } from '../request.ts';
import { compileRoute, type CompiledRoute, type CompiledRule } from './compile-route.ts';
import { firstOf, hostRank, type Entry } from './table/entry.ts';
import { HostIndex, hostOf } from './table/host-index.ts';
import { RequestView } from './table/request-view.ts';

/** What the routes of a Service say about a request. */
export type RouteResult =
  /** No route stands before this port of the Service for this client: the request goes to the Service itself. */
  | { readonly kind: 'no-routes' }
  /** There are routes, and none takes the request: 404 (GEP-1426). */
  | { readonly kind: 'no-match' }
  /** The regular expressions of its routes would take too long on this request: 400. */
  | { readonly kind: 'too-costly' }
  | Matched;

export interface Matched {
  readonly kind: 'matched';
  readonly route: Route;
  readonly rule: CompiledRule;
  /** `undefined` for a rule without matches. */
  readonly match: RouteMatch | undefined;
  /** What the match asked the path to begin with, without a slash at its end: '' for any path. */
  readonly prefix: string | undefined;
}

const NO_ROUTES: RouteResult = { kind: 'no-routes' };
const NO_MATCH: RouteResult = { kind: 'no-match' };
const TOO_COSTLY: RouteResult = { kind: 'too-costly' };

/** Routes that one group of clients uses, by port of the Service; 0 stands for every port. */
type ByPort = Map<number, HostIndex>;

/** The routes that attach to one Service, as a table for look-up. Never changes: a change makes a new table. */
export class RouteTable {
  readonly #producer: ByPort = new Map();
  readonly #consumer = new Map<string, ByPort>();

  /**
   * @param service key of the Service; parents of other Services are passed over.
   * @param routes in any order. Those that were compiled before (the same message) are not compiled again.
   * @throws RouteError if one of them cannot be compiled; the caller keeps its former table.
   */
  constructor(service: string, routes: Iterable<Route>) {
    let order = 0;
    for (const compiled of [...routes].sort(byAge).map((route) => compileRoute(route))) {
      const targets = this.#targets(service, compiled.route.parents);
      if (targets.size === 0) continue;
      for (const entryOf of entries(compiled, order)) {
        for (const index of targets) index.add(entryOf.entry, entryOf.hostname);
      }
      order += compiled.rules.reduce((sum, rule) => sum + rule.matches.length, 0);
    }
    for (const ports of [this.#producer, ...this.#consumer.values()]) {
      for (const index of ports.values()) index.seal();
    }
  }

  /** A route that names a whole Service and one of its ports is entered only once where both apply. */
  #targets(service: string, parents: readonly Parent[]): Set<HostIndex> {
    const targets = new Set<HostIndex>();
    for (const parent of parents) {
      if (parent.service !== service) continue;
      const ports = this.#portsOf(parent.consumerNamespace);
      let index = ports.get(parent.port);
      if (index === undefined) ports.set(parent.port, (index = new HostIndex()));
      targets.add(index);
    }
    return targets;
  }

  #portsOf(consumerNamespace: string): ByPort {
    if (consumerNamespace === '') return this.#producer;
    let ports = this.#consumer.get(consumerNamespace);
    if (ports === undefined) this.#consumer.set(consumerNamespace, (ports = new Map<number, HostIndex>()));
    return ports;
  }

  /**
   * Looks a request up, in time that does not depend on the number of routes (but for regular expressions).
   *
   * @param clientNamespace of the client's identity; `undefined` if it has none. Consumer routes of that namespace, if there
   * are any for this port, stand in place of the producer's (GEP-1324).
   */
  match(head: RequestHead, clientNamespace: string | undefined): RouteResult {
    const consumer = clientNamespace === undefined ? undefined : this.#consumer.get(clientNamespace);
    const own = consumer === undefined ? undefined : indicesFor(consumer, head.port);
    const [onPort, onAll] = own ?? indicesFor(this.#producer, head.port) ?? [];
    if (onPort === undefined && onAll === undefined) return NO_ROUTES;
    const view = new RequestView(head);
    const host = hostOf(head.authority);
    const entry = firstOf(onPort?.find(view, host), onAll?.find(view, host));
    if (view.tooCostly) return TOO_COSTLY;
    return entry?.result ?? NO_MATCH;
  }
}

/** `undefined` if the port has no routes. */
function indicesFor(
  ports: ByPort,
  port: number,
): [onPort: HostIndex | undefined, onAll: HostIndex | undefined] | undefined {
  const onPort = port === 0 ? undefined : ports.get(port);
  const onAll = ports.get(0);
  return onPort === undefined && onAll === undefined ? undefined : [onPort, onAll];
}

function resultOf(rule: CompiledRule, index: number): Matched {
  const path = rule.matches[index]?.path;
  return {
    kind: 'matched',
    route: rule.route,
    rule,
    match: rule.rule.matches[index],
    prefix: path?.kind === 'prefix' ? path.prefix : path?.kind === 'any' ? '' : undefined,
  };
}

function* entries(
  { hostnames, rules }: CompiledRoute,
  firstOrder: number,
): Iterable<{ entry: Entry; hostname: string | undefined }> {
  let order = firstOrder;
  for (const rule of rules) {
    for (const [index, match] of rule.matches.entries()) {
      const result = resultOf(rule, index);
      for (const hostname of hostnames.length === 0 ? [undefined] : new Set(hostnames)) {
        yield { entry: { match, result, hostRank: hostRank(hostname), order }, hostname };
      }
      order += 1;
    }
  }
}

/** The older first, then by namespace and name; an HTTPRoute and a GRPCRoute may share one. */
function byAge(a: Route, b: Route): number {
  if (a.creationTime !== b.creationTime) return a.creationTime < b.creationTime ? -1 : 1;
  return compareText(a.namespace, b.namespace) || compareText(a.name, b.name) || compareText(a.kind, b.kind);
}

function compareText(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
