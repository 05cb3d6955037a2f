import { addObserved, observedOf, type ObservedSum } from './observed-edges.ts';
import { EdgeCounts, Names } from '../../lib/flow/edge-counts.ts';
import type { EdgeWindow, Party } from '../../lib/flow/event.ts';
import type { Graph, GraphEdge, GraphNode, NodeKind, Traffic } from '../../lib/flow/view.ts';
import { EMPTY_CATALOG, type Catalog } from '../../lib/flow/catalog.ts';

/** Addresses outside the mesh that have a node of their own; the rest are one. */
const MAX_OUTSIDE = 40;
const OUTSIDE = 'outside';
/** Identities that one edge shows. */
const MAX_IDENTITIES = 8;

interface Sum {
  readonly from: string;
  readonly to: string;
  readonly requests: EdgeCounts;
  readonly connections: EdgeCounts;
  mtls: number;
  plain: number;
  readonly identities: Map<string, readonly [string, string]>;
  readonly via: Set<string>;
  readonly services: Set<string>;
  observed?: ObservedSum;
}

interface Seen {
  readonly kind: NodeKind;
  readonly namespace: string;
  readonly name: string;
  readonly versions: Set<string>;
  readonly workloads: Set<string>;
}

/** What one node of the graph stands for: an application, or one pod. */
export type Granularity = 'app' | 'workload';

/** Who is whom: which application a party or a Service stands for. */
export class Naming {
  readonly #serviceApp = new Map<string, string>();
  readonly #waypoints = new Set<string>();
  readonly #by: Granularity;

  constructor(catalog: Catalog, by: Granularity = 'app') {
    this.#by = by;
    const appOf = new Map(
      catalog.pods.map((pod) => [`${pod.namespace}/${pod.name}`, `${pod.namespace}/${pod.app}`]),
    );
    for (const { namespace, name, pods } of catalog.services) {
      const apps = new Set(pods.flatMap((pod) => appOf.get(pod) ?? []));
      const [only] = apps;
      if (apps.size === 1 && only !== undefined) this.#serviceApp.set(`${namespace}/${name}`, only);
    }
    for (const { namespace, name, instances } of catalog.waypoints)
      for (const each of [name, ...instances.map((instance) => instance.name)])
        this.#waypoints.add(`${namespace}/${each}`);
  }

  /** The application behind a Service; the Service's own name where that is not one alone. */
  service(service: string): string {
    return this.#serviceApp.get(service) ?? service;
  }

  isWaypoint({ namespace, workload }: Party): boolean {
    return workload !== undefined && this.#waypoints.has(`${namespace ?? ''}/${workload}`);
  }

  /** @param service the Service that was dialled, where the party's workload is not known */
  party(party: Party, service?: string): { readonly id: string; readonly kind: NodeKind } {
    const { workload, namespace = '', app, owner, ip } = party;
    if (workload !== undefined)
      return {
        id: `${namespace}/${this.#by === 'workload' ? workload : (app ?? owner ?? workload)}`,
        kind: this.isWaypoint(party) ? 'waypoint' : 'app',
      };
    if (service !== undefined) return { id: this.service(service), kind: 'app' };
    return { id: `${OUTSIDE}/${ip ?? 'unknown'}`, kind: 'outside' };
  }
}

/**
 * The graph of a time. Both ends of a connection tell of it: the destination's word counts, which also proves who called
 * (decision 0063); the source's counts where the destination has none to say: outside the mesh, and what failed or was
 * refused before it got there. What a waypoint reads is told as requests, and the connections to and from it are not shown
 * beside them.
 *
 * @param at the end of the time
 */
export function buildGraph(
  edges: readonly EdgeWindow[],
  windowMs: number,
  at: number,
  catalog: Catalog = EMPTY_CATALOG,
  by: Granularity = 'app',
): Graph {
  const naming = new Naming(catalog, by);
  const seen = new Map<string, Seen>();
  const sums = new Map<string, Sum>();
  const outside = new Set<string>();

  const note = (party: Party, service: string | undefined): string => {
    let { id } = naming.party(party, service);
    const { kind } = naming.party(party, service);
    if (kind === 'outside' && !outside.has(id)) {
      if (outside.size >= MAX_OUTSIDE) id = `${OUTSIDE}/others`;
      else outside.add(id);
    }
    const slash = id.indexOf('/');
    let node = seen.get(id);
    if (node === undefined) {
      node = {
        kind,
        namespace: id.slice(0, slash),
        name: id.slice(slash + 1),
        versions: new Set(),
        workloads: new Set(),
      };
      seen.set(id, node);
    }
    if (party.version !== undefined) node.versions.add(party.version);
    if (party.workload !== undefined) node.workloads.add(`${party.namespace ?? ''}/${party.workload}`);
    return id;
  };

  for (const edge of edges) {
    const counted = counts(edge, naming);
    if (counted === undefined) continue;
    const from = note(edge.source, undefined);
    const to = note(edge.destination, edge.backend ?? edge.service);
    const key = `${from}\n${to}`;
    let sum = sums.get(key);
    if (sum === undefined) {
      const facts = { side: edge.side, source: {}, destination: {}, mtls: edge.mtls };
      sum = {
        ...{ from, to, mtls: 0, plain: 0 },
        requests: new EdgeCounts('request', facts),
        connections: new EdgeCounts('connection', facts),
        ...{ identities: new Map(), via: new Set(), services: new Set() },
      };
      sums.set(key, sum);
    }
    addTo(sum, edge, counted);
  }

  for (const { observed, connections } of sums.values()) if (observed) observed.into(connections);
  const seconds = windowMs / 1000;
  const shown = [...sums.values()].map((sum) => edgeOf(sum, seconds));
  addCatalog(seen, catalog, by);
  return {
    at,
    windowMs,
    nodes: nodesOf(seen, sums, seconds, catalog),
    edges: shown,
  };
}

/** What of an edge counts for the graph; undefined: nothing. */
function counts(edge: EdgeWindow, naming: Naming): EdgeWindow | undefined {
  if (edge.layer === 'request' || edge.side === 'waypoint') return edge;
  if (edge.side === 'destination')
    return edge.via !== undefined || naming.isWaypoint(edge.source) ? undefined : edge;
  if (!edge.mtls) return edge;
  if (edge.failed === 0) return undefined;
  // Only what did not arrive: what did, the other end tells.
  const { denied: _denied, allowed: _allowed, codes: _codes, ...rest } = edge;
  return { ...rest, ended: edge.failed, opened: 0, active: 0, up: 0, down: 0, durations: [] };
}

function addTo(sum: Sum, edge: EdgeWindow, counted: EdgeWindow): void {
  if (edge.observed === true) sum.observed = addObserved(sum.observed, counted);
  const into = edge.layer === 'request' ? sum.requests : sum.connections;
  if (edge.observed !== true) into.add(counted);
  // What was denied, or failed before TLS stood, is no call in plaintext.
  const weight = Math.max(0, counted.ended - total(counted.denied) - counted.failed) + counted.active;
  if (edge.mtls) sum.mtls += weight;
  else sum.plain += weight;
  const [client, server] = [edge.source.identity, edge.destination.identity];
  if (client !== undefined && server !== undefined && sum.identities.size < MAX_IDENTITIES)
    sum.identities.set(`${client}\n${server}`, [client, server]);
  if (edge.via !== undefined) sum.via.add(edge.via);
  if (edge.service !== undefined) sum.services.add(edge.service);
}

function edgeOf(sum: Sum, seconds: number): GraphEdge {
  const { from, to, requests, connections } = sum;
  const main = requests.ended > 0 ? requests : connections;
  const secured = sum.mtls + sum.plain;
  return {
    ...{ from, to },
    ...trafficOf(main, seconds, connections.active),
    ...(secured > 0 ? { mtls: sum.mtls / secured } : sum.identities.size > 0 && { mtls: 1 }),
    identities: [...sum.identities.values()],
    via: [...sum.via],
    services: [...sum.services].sort(),
    retries: main.retries,
    codes: main.codes.toRecord() ?? {},
    flags: main.flags.toRecord() ?? {},
    deniedBy: main.denied.toRecord() ?? {},
    allowedBy: main.allowed.toRecord() ?? {},
    ...(sum.observed && { observed: observedOf(sum.observed) }),
  };
}

/** What was counted, as rates. */
export function trafficOf(counted: EdgeCounts, seconds: number, active = counted.active): Traffic {
  const { ended, failed, layer } = counted;
  const denied = counted.denied.total;
  const judged = ended - denied;
  const [p50, p95, p99] = counted.durations.quantiles([0.5, 0.95, 0.99]);
  return {
    of: layer === 'request' ? 'requests' : 'connections',
    rate: ended / seconds,
    ...(judged > 0 && { success: Math.max(0, 1 - failed / judged) }),
    ...{ ended, failed, denied, active },
    ...(p50 !== undefined && p95 !== undefined && p99 !== undefined && { p50, p95, p99 }),
    up: counted.up / seconds,
    down: counted.down / seconds,
  };
}

/**
 * Also what nobody calls is shown; but not the namespaces of which nothing is in the mesh and nothing was seen, which in a cluster are many,
 * unless there is nothing else.
 */
function addCatalog(seen: Map<string, Seen>, catalog: Catalog, by: Granularity): void {
  const concerned = new Set([
    ...[...seen.values()].map(({ namespace }) => namespace),
    ...catalog.pods
      .filter(({ enrolled, problem }) => enrolled !== false || problem !== undefined)
      .map(({ namespace }) => namespace),
  ]);
  for (const pod of catalog.pods) {
    if (concerned.size > 0 && !concerned.has(pod.namespace)) continue;
    const name = by === 'workload' ? pod.name : pod.app;
    const id = `${pod.namespace}/${name}`;
    let node = seen.get(id);
    if (node === undefined) {
      const { namespace } = pod;
      node = { kind: 'app', namespace, name, versions: new Set(), workloads: new Set() };
      seen.set(id, node);
    }
    if (pod.version !== undefined) node.versions.add(pod.version);
    node.workloads.add(`${pod.namespace}/${pod.name}`);
  }
}

function nodesOf(
  seen: ReadonlyMap<string, Seen>,
  sums: ReadonlyMap<string, Sum>,
  seconds: number,
  catalog: Catalog,
): GraphNode[] {
  const inbound = new Map<string, EdgeCounts>();
  for (const { to, requests, connections } of sums.values()) {
    const main = requests.ended > 0 ? requests : connections;
    const layer = inbound.get(to)?.layer ?? main.layer;
    // Requests and connections are not added up: whoever has requests is judged by them.
    if (main.layer !== layer && main.layer === 'connection') continue;
    const known = inbound.get(to);
    const total = known?.layer === main.layer ? known : new EdgeCounts(main.layer, main.facts);
    total.merge(main);
    inbound.set(to, total);
  }
  const pods = new Map(catalog.pods.map((pod) => [`${pod.namespace}/${pod.name}`, pod]));
  const servicesOf = Map.groupBy(
    catalog.services.flatMap((service) => service.pods.map((pod) => ({ service, pod }))),
    ({ pod }) => pod,
  );
  return [...seen].map(([id, node]): GraphNode => {
    const services = [
      ...new Set(
        [...node.workloads].flatMap((pod) => (servicesOf.get(pod) ?? []).map((each) => each.service)),
      ),
    ];
    const waypoint = services.find((service) => service.waypoint !== undefined)?.waypoint;
    const known = [...node.workloads].flatMap((name) => pods.get(name) ?? []);
    const enrolled = known.filter((pod) => pod.enrolled !== undefined);
    const counted = inbound.get(id);
    return {
      ...{ id, kind: node.kind, namespace: node.namespace, name: node.name },
      versions: [...node.versions].sort(),
      workloads: [...node.workloads].sort(),
      services: services.map(({ namespace, name }) => `${namespace}/${name}`).sort(),
      ...(enrolled.length > 0 && {
        enrolled: { of: enrolled.length, in: enrolled.filter((pod) => pod.enrolled === true).length },
      }),
      ...(waypoint !== undefined && { waypoint }),
      ...(counted && { inbound: trafficOf(counted, seconds) }),
    };
  });
}

function total(counts: Readonly<Record<string, number>> | undefined): number {
  const names = new Names();
  names.merge(counts);
  return names.total;
}
