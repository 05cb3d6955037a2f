import { askJson } from '../local/http.ts';
import { meshPaths } from '../local/paths.ts';
import { problemsOf } from '../local/problems.ts';
import { ZTUNNEL_ADMIN_PORT } from '../local/programs.ts';
import { meshStatus, type MeshStatus } from '../local/status.ts';
import { warningsOf } from '../local/warnings.ts';
import { countsSince, LogTail, parseAccessLine } from './access-log.ts';
import { EdgeBook, type Edge, type LiveRow } from './edges.ts';
import { enrolmentEvents } from './enrolment-events.ts';
import { policyName } from './policy-name.ts';
import { Rates } from './rates.ts';
import { RequestChanges } from './request-changes.ts';
import type { RequestsSeen } from './request-expectations.ts';
import { parseRequestLine } from './request-log.ts';
import { RequestBook } from './requests.ts';
import { changedRoutes, configuredShares, splits, type ConfiguredShares } from './splits.ts';
import { nameFromShop } from './text.ts';
import type { EventView, PodView, View, WaypointView } from './view.ts';

/** An edge without a call for so long is idle. */
const IDLE_AFTER_MS = 3_000;
const EVENTS_SHOWN = 5;

interface EdgeCounts {
  readonly completed: number;
  readonly denied: number;
  readonly errors: number;
}

/** Of the changes of the whole mesh, and of those to a fallback and back, only the last is shown. */
type EventKind = 'generation' | 'fallback' | 'other';

/** Watches a mesh from outside, by what its programs tell: access logs, live connections, status. */
export class Observer {
  readonly #mesh: string;
  readonly #book: EdgeBook;
  readonly #requests: RequestBook;
  readonly #tails = new Map<string, LogTail>();
  readonly #startedAt = Date.now();
  readonly #groups = new Map<string, string>();
  #status: MeshStatus;
  /** Waypoints and their instances, `namespace/name` and `namespace/name-0`. */
  readonly #waypoints = new Set<string>();
  readonly #rates = new Rates();
  readonly #requestChanges = new RequestChanges();
  #configured: ConfiguredShares = new Map();
  #edgeCounts: ReadonlyMap<string, EdgeCounts> = new Map();
  #lookedAt: number | undefined;
  #events: (EventView & { readonly kind: EventKind })[] = [];
  /** When a call was seen last, by edge. */
  readonly #activeAt = new Map<string, number>();
  /** Pods by name, as of the last moment at which all were as they should be: whether they are in the mesh. */
  #inMesh: ReadonlyMap<string, boolean> | undefined;
  #said = new Map<string, 'through' | 'denied'>();

  /** @param status a first look at the mesh; calls count from here on */
  constructor(status: MeshStatus) {
    this.#mesh = status.report.mesh;
    this.#status = status;
    const groupOf = (pod: string): string => this.#groups.get(pod) ?? pod;
    this.#book = new EdgeBook(groupOf, (workload) => this.#waypoints.has(workload));
    this.#requests = new RequestBook(groupOf);
    this.#learnPods();
    for (const path of this.#ztunnelLogs()) this.#tail(path, 'end');
    for (const path of this.#waypointLogs()) this.#tail(path, 'end');
  }

  /** Reads what is new. What does not answer just now is left as it was. */
  async look(): Promise<void> {
    const status = await meshStatus(this.#mesh).catch(() => undefined);
    if (status !== undefined) {
      this.#noteGeneration(status);
      this.#status = status;
      this.#learnPods();
      this.#noteEnrolment();
    }
    for (const path of this.#ztunnelLogs())
      for (const json of this.#tail(path, 'start').read()) {
        const line = parseAccessLine(json);
        if (line !== undefined && countsSince(line, this.#startedAt)) this.#book.add(line);
      }
    for (const path of this.#waypointLogs())
      for (const json of this.#tail(path, 'start').read()) {
        const line = parseRequestLine(json);
        if (line !== undefined) this.#requests.add(line);
      }
    const before = this.#configured;
    this.#configured = await acceptedShares(meshPaths(this.#mesh).controllerStatus, before);
    for (const route of changedRoutes(before, this.#configured)) this.#requests.forgetShares(route);
    const live = await Promise.all(this.#status.report.nodes.map(({ netns }) => liveConnections(netns)));
    this.#book.setLive(live.flat());
    this.#noteChanges();
  }

  /** The edges as they stand. */
  edges(): Edge[] {
    return this.#book.edges();
  }

  /** What became of requests. */
  requestsSeen(): RequestsSeen {
    return {
      requests: this.#requests.requests(),
      denied: this.#requests.denied(),
      splits: splits(this.#configured, this.#requests.shares()),
    };
  }

  view(): View {
    const seen = this.requestsSeen();
    const { report, controller } = this.#status;
    return {
      mesh: this.#mesh,
      elapsedMs: Date.now() - this.#startedAt,
      manifests: report.manifests,
      pods: this.#pods(),
      edges: this.edges(),
      isHop: (edge) => this.#isWaypointGroup(edge.from) || this.#isWaypointGroup(edge.to),
      waypoints: this.#waypointViews(),
      requests: seen.requests,
      deniedRequests: seen.denied,
      splits: seen.splits,
      requestRateOf: ({ from, to }) => this.#rates.of(`requests ${from} → ${to}`),
      rateOf: ({ from, to }) => this.#rates.of(`${from} → ${to}`),
      idle: (edge) => this.#isIdle(edge),
      policyName: (policy) => policyName(policy, controller?.objects ?? []),
      problems: problemsOf(this.#status),
      warnings: warningsOf(this.#status),
      events: this.#events,
    };
  }

  close(): void {
    for (const tail of this.#tails.values()) tail.close();
  }

  #pods(): PodView[] {
    const { report, enrolled } = this.#status;
    return report.pods
      .map((pod) => ({
        name: nameFromShop(pod),
        node: pod.node,
        ip: pod.ip,
        state: stateOf(pod.wantsEnrolment, enrolled[pod.uid]?.verified === true),
        ready: pod.ready,
      }))
      .sort((a, b) => (a.name < b.name ? -1 : 1));
  }

  #waypointViews(): WaypointView[] {
    const { report, readiness } = this.#status;
    return report.waypoints.flatMap(({ namespace, name: gateway, instances }) =>
      instances.map(({ name, node }) => ({
        name: instances.length === 1 ? gateway : name,
        node,
        ready: readiness.waypoints[`${namespace}/${name}`]?.ready === true,
      })),
    );
  }

  #isWaypointGroup(group: string): boolean {
    return this.#status.report.waypoints.some((waypoint) => nameFromShop(waypoint) === group);
  }

  #ztunnelLogs(): string[] {
    const paths = meshPaths(this.#mesh);
    return this.#status.report.nodes.map(({ name }) => paths.logOf('ztunnel', name));
  }

  #waypointLogs(): string[] {
    const paths = meshPaths(this.#mesh);
    return this.#status.report.waypoints.flatMap(({ namespace, name, instances }) =>
      instances.map(({ index }) => paths.waypointLog(namespace, name, index)),
    );
  }

  #tail(path: string, from: 'start' | 'end'): LogTail {
    const known = this.#tails.get(path);
    if (known) return known;
    const tail = new LogTail(path, from);
    this.#tails.set(path, tail);
    return tail;
  }

  /** Pods of one service account are one party: that is who they prove to be. */
  #learnPods(): void {
    for (const pod of this.#status.report.pods)
      this.#groups.set(
        `${pod.namespace}/${pod.name}`,
        nameFromShop({ namespace: pod.namespace, name: pod.serviceAccount }),
      );
    for (const waypoint of this.#status.report.waypoints)
      for (const { name } of [waypoint, ...waypoint.instances]) {
        this.#waypoints.add(`${waypoint.namespace}/${name}`);
        this.#groups.set(`${waypoint.namespace}/${name}`, nameFromShop(waypoint));
      }
  }

  #event(text: string, kind: EventKind = 'other'): void {
    const at = new Date().toTimeString().slice(0, 8);
    const kept = this.#events.filter((event) => kind === 'other' || event.kind !== kind);
    this.#events = [...kept, { at, text, kind }].slice(-EVENTS_SHOWN);
  }

  #noteGeneration(status: MeshStatus): void {
    const before = this.#status.controller?.generation;
    const now = status.controller?.generation;
    if (before !== undefined && now !== undefined && before !== now)
      this.#event(`the mesh changed: its generation ${now} is in force`, 'generation');
  }

  /** Notes pods that leave the mesh or join it, once all of them have. */
  #noteEnrolment(): void {
    const pods = this.#pods();
    if (pods.some((pod) => pod.state === 'not verified')) return;
    const now = new Map(pods.map((pod) => [pod.name, pod.state === 'in the mesh']));
    const before = this.#inMesh;
    this.#inMesh = now;
    if (before === undefined) return;
    for (const text of enrolmentEvents(before, now)) this.#event(text);
  }

  /** Notes calls that begin to get through, or to be denied. */
  #noteChanges(): void {
    const counts = new Map(
      this.edges().map((edge) => [
        `${edge.from} → ${edge.to}`,
        {
          ...{ completed: edge.completed + edge.live, denied: edge.denied + edge.cut },
          ...{ errors: edge.errors, live: edge.live },
        },
      ]),
    );
    const at = Date.now();
    const last = this.#edgeCounts;
    const seen = this.requestsSeen();
    for (const { kind, text } of this.#requestChanges.look(at, seen.requests, seen.denied))
      this.#event(text, kind);
    for (const [name, { completed, denied, errors, live }] of counts) {
      const before = last.get(name) ?? { completed: 0, denied: 0, errors: 0 };
      if (live > 0 || completed > before.completed || denied > before.denied || errors > before.errors)
        this.#activeAt.set(name, at);
      const now =
        denied > before.denied ? 'denied' : completed > before.completed ? 'through' : this.#said.get(name);
      if (now === undefined || now === this.#said.get(name)) continue;
      // The first look is not a change.
      if (this.#said.has(name))
        this.#event(now === 'denied' ? `${name} is denied now` : `${name} gets through now`);
      this.#said.set(name, now);
    }
    this.#edgeCounts = counts;
    this.#lookedAt = at;
    this.#rates.note(
      at,
      new Map([
        ...[...counts].map(([name, { completed }]) => [name, completed] as const),
        ...seen.requests.map(({ from, to, count }) => [`requests ${from} → ${to}`, count] as const),
      ]),
    );
  }

  #isIdle(edge: Edge): boolean {
    const seenAt = this.#activeAt.get(`${edge.from} → ${edge.to}`);
    const lookedAt = this.#lookedAt;
    return seenAt !== undefined && lookedAt !== undefined && lookedAt - seenAt > IDLE_AFTER_MS;
  }
}

function stateOf(wanted: boolean, verified: boolean): 'in the mesh' | 'outside' | 'not verified' {
  if (wanted === verified) return wanted ? 'in the mesh' : 'outside';
  return 'not verified';
}

async function liveConnections(netns: string): Promise<LiveRow[]> {
  try {
    const answer = await askJson({ netns, port: ZTUNNEL_ADMIN_PORT }, '/connections');
    const rows = Array.isArray(answer) ? answer : (answer as { connections?: unknown }).connections;
    return Array.isArray(rows) ? (rows as LiveRow[]) : [];
  } catch {
    return [];
  }
}

/** What the accepted routes say, or what they said while the controller does not answer. */
async function acceptedShares(socketPath: string, before: ConfiguredShares): Promise<ConfiguredShares> {
  try {
    const { httpRoutes } = (await askJson({ socketPath }, '/v1/objects')) as { httpRoutes?: unknown };
    return configuredShares(Array.isArray(httpRoutes) ? httpRoutes : []);
  } catch {
    return before;
  }
}
