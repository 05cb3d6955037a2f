import type { AccessLine } from './access-log.ts';
import { serviceName } from './text.ts';

/** A row of a ztunnel's `GET /connections`: a connection that lives. */
export interface LiveRow {
  readonly id: number;
  readonly direction: 'inbound' | 'outbound';
  readonly state: 'opening' | 'open';
  readonly source: { readonly workload?: string; readonly namespace?: string; readonly identity?: string };
  readonly destination: {
    readonly workload?: string;
    readonly namespace?: string;
    readonly identity?: string;
  };
  readonly bytesSent: number;
  readonly bytesReceived: number;
}

/** How a connection came to its destination. */
export type Arrival = 'mutual TLS' | 'plaintext';

/** So many arrivals tell how an edge is now. */
const RECENT = 10;

/** What both ztunnels say about the calls from one service to another. */
export interface Edge {
  readonly from: string;
  readonly to: string;
  /** Connections that ended well, as the source's ztunnel counts them (for a waypoint's own: the destination's). */
  completed: number;
  /** Connections that live now. */
  live: number;
  bytesSent: number;
  bytesReceived: number;
  /** Failed for another reason than a policy. */
  errors: number;
  lastError: string | undefined;
  /** Sum over the completed. */
  durationMs: number;
  /** Denied before the first byte. */
  denied: number;
  /** Ended by a change of policy while they were open. */
  cut: number;
  /** Bytes that passed on denied connections: must stay 0. */
  deniedBytes: number;
  deniedBy: Set<string>;
  deniedReason: string | undefined;
  /** Identities as the TLS handshakes proved them, by each side's ztunnel. */
  sourceIdentities: Set<string>;
  destinationIdentities: Set<string>;
  /** Seen by the destination's ztunnel with both identities proved, denied ones included. */
  mutualTls: number;
  /** Let in by it without. */
  plaintext: number;
  /** Denied without. */
  deniedPlaintext: number;
  /** How the last that it let in came, the newest last. */
  recent: readonly Arrival[];
  /** Pods that answered. */
  destinations: Set<string>;
}

/** By these words ztunnel logs a live connection that a new policy forbids. */
const POLICY_CHANGE = 'policy change';

/** What the mesh does not know; the reason of the denial has the address. */
export const OUTSIDE = 'outside the mesh';
/** Flags of ztunnel for what the rules at the source refuse. */
const REFUSED_AT_SOURCE: readonly (string | undefined)[] = ['EGRESS', 'REGISTRY_ONLY'];

function isRefusedAtSource({ direction, flags }: AccessLine): boolean {
  return direction === 'outbound' && REFUSED_AT_SOURCE.includes(flags);
}

/** Names for pods, so that the pods of one service are one end of an edge. */
export type GroupOf = (pod: string) => string;

/** Whether `namespace/name` is a waypoint or an instance of one: it has no ztunnel of its own that would log its side. */
export type IsWaypoint = (workload: string) => boolean;

function newEdge(from: string, to: string): Edge {
  return {
    ...{ from, to, completed: 0, live: 0, bytesSent: 0, bytesReceived: 0, errors: 0, lastError: undefined },
    ...{ durationMs: 0, denied: 0, cut: 0, deniedBytes: 0, deniedBy: new Set(), deniedReason: undefined },
    ...{ sourceIdentities: new Set(), destinationIdentities: new Set(), mutualTls: 0, plaintext: 0 },
    ...{ deniedPlaintext: 0, recent: [], destinations: new Set() },
  };
}

/** Adds up who called whom, from finished connections and those that live. */
export class EdgeBook {
  readonly #finished = new Map<string, Edge>();
  readonly #groupOf: GroupOf;
  readonly #isWaypoint: IsWaypoint;
  #live: readonly LiveRow[] = [];

  constructor(groupOf: GroupOf, isWaypoint: IsWaypoint = () => false) {
    this.#groupOf = groupOf;
    this.#isWaypoint = isWaypoint;
  }

  add(line: AccessLine): void {
    const from = line.source === undefined ? 'unknown' : this.#groupOf(line.source);
    const called = line.via ?? line.destination;
    const to = this.#calledOf(line, called);
    const edge = edgeOf(this.#finished, from, to);
    const toWaypoint = called !== undefined && this.#isWaypoint(called);
    const fromWaypoint = line.source !== undefined && this.#isWaypoint(line.source);
    if (line.direction === 'inbound') {
      addInbound(edge, line);
      if (fromWaypoint) addOutbound(edge, line);
    } else {
      addOutbound(edge, line);
      if (toWaypoint) addInbound(edge, line);
    }
  }

  /** What was called: for a refusal at the source the Service that was dialled, since no pod of it was. */
  #calledOf(line: AccessLine, called: string | undefined): string {
    const service = serviceName(line.service);
    if (isRefusedAtSource(line)) {
      if (service !== undefined) return service;
      return called === undefined ? OUTSIDE : this.#groupOf(called);
    }
    return called === undefined ? (service ?? 'unknown') : this.#groupOf(called);
  }

  /** Takes the connections that live now, of all nodes. */
  setLive(rows: readonly LiveRow[]): void {
    this.#live = rows;
  }

  /** The edges as they stand, sorted by name. */
  edges(): Edge[] {
    const edges = new Map([...this.#finished].map(([key, edge]) => [key, copy(edge)]));
    for (const row of this.#live) {
      if (row.state !== 'open') continue;
      const source = podName(row.source);
      const destination = podName(row.destination);
      if (source === undefined || destination === undefined) continue;
      const edge = edgeOf(edges, this.#groupOf(source), this.#groupOf(destination));
      if (row.direction === 'inbound') {
        letIn(edge, addIdentities(edge, row.source.identity, row.destination.identity));
        if (!this.#isWaypoint(source)) continue;
      } else if (this.#isWaypoint(destination))
        letIn(edge, addIdentities(edge, row.source.identity, row.destination.identity));
      edge.live += 1;
      edge.bytesSent += row.bytesSent;
      edge.bytesReceived += row.bytesReceived;
      edge.destinations.add(destination);
    }
    return [...edges.values()].sort((a, b) => (`${a.from} ${a.to}` < `${b.from} ${b.to}` ? -1 : 1));
  }
}

function podName(end: { workload?: string; namespace?: string }): string | undefined {
  return end.workload === undefined ? undefined : `${end.namespace ?? ''}/${end.workload}`;
}

function edgeOf(edges: Map<string, Edge>, from: string, to: string): Edge {
  const key = `${from}\n${to}`;
  const known = edges.get(key);
  if (known) return known;
  const edge = newEdge(from, to);
  edges.set(key, edge);
  return edge;
}

function copy(edge: Edge): Edge {
  return {
    ...edge,
    deniedBy: new Set(edge.deniedBy),
    sourceIdentities: new Set(edge.sourceIdentities),
    destinationIdentities: new Set(edge.destinationIdentities),
    destinations: new Set(edge.destinations),
  };
}

function addIdentities(edge: Edge, source: string | undefined, destination: string | undefined): Arrival {
  if (source !== undefined) edge.sourceIdentities.add(source);
  if (destination !== undefined) edge.destinationIdentities.add(destination);
  if (source === undefined || destination === undefined) return 'plaintext';
  edge.mutualTls += 1;
  return 'mutual TLS';
}

function letIn(edge: Edge, arrival: Arrival): void {
  if (arrival === 'plaintext') edge.plaintext += 1;
  edge.recent = [...edge.recent, arrival].slice(-RECENT);
}

/** The destination's view: who it was, and what policy said. */
function addInbound(edge: Edge, line: AccessLine): void {
  const arrival = addIdentities(edge, line.sourceIdentity, line.destinationIdentity);
  // It was allowed when it began, and what passed until then passed rightly.
  const cut = line.flags === 'DENY' && line.error?.includes(POLICY_CHANGE) === true;
  if (line.flags !== 'DENY' || cut) letIn(edge, arrival);
  if (line.flags !== 'DENY') return;
  edge.deniedReason = line.error;
  if (line.policy !== undefined) edge.deniedBy.add(line.policy);
  if (cut) {
    edge.cut += 1;
    return;
  }
  if (arrival === 'plaintext') edge.deniedPlaintext += 1;
  edge.denied += 1;
  edge.deniedBytes += line.bytesSent + line.bytesReceived;
}

/** The caller's own node refused it, or cut it when its rules changed: nobody else ever saw it. */
function addRefused(edge: Edge, line: AccessLine): void {
  edge.deniedReason = line.error;
  // Without a policy it is a setting of the mesh that refuses.
  edge.deniedBy.add(line.policy ?? line.flags ?? '');
  if (line.error?.includes(POLICY_CHANGE) === true) edge.cut += 1;
  else {
    edge.denied += 1;
    edge.deniedBytes += line.bytesSent + line.bytesReceived;
  }
}

/** The source's view: how it went for the caller. */
function addOutbound(edge: Edge, line: AccessLine): void {
  if (isRefusedAtSource(line)) {
    addRefused(edge, line);
    return;
  }
  if (line.error === undefined) {
    edge.completed += 1;
    edge.durationMs += line.durationMs;
    edge.bytesSent += line.bytesSent;
    edge.bytesReceived += line.bytesReceived;
    if (line.destination !== undefined) edge.destinations.add(line.destination);
  } else if (line.flags === 'DENY') {
    // Refused by the destination, which has logged the policy.
    if (edge.cut === 0) edge.deniedBytes += line.bytesReceived;
  } else {
    edge.errors += 1;
    edge.lastError = line.error;
  }
}
