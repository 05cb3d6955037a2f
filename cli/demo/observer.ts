import { askJson } from '../local/http.ts';
import { meshPaths } from '../local/paths.ts';
import { problemsOf } from '../local/problems.ts';
import { ZTUNNEL_ADMIN_PORT } from '../local/programs.ts';
import { meshStatus, type MeshStatus } from '../local/status.ts';
import { warningsOf } from '../local/warnings.ts';
import { LogTail, parseAccessLine } from './access-log.ts';
import { EdgeBook, type Edge, type LiveRow } from './edges.ts';
import { policyName } from './policy-name.ts';
import type { EventView, PodView, View } from './view.ts';

/** Rates are taken over this long. */
const RATE_WINDOW_MS = 2_000;
/** An edge without a call for so long is idle. */
const IDLE_AFTER_MS = 3_000;
const EVENTS_SHOWN = 5;

interface Sample {
  readonly at: number;
  readonly counts: ReadonlyMap<string, { completed: number; denied: number; errors: number }>;
}

/** Of the changes of the whole mesh only the last is shown. */
type EventKind = 'generation' | 'other';

/** Watches a mesh from outside, by what its programs tell: access logs, live connections, status. */
export class Observer {
  readonly #mesh: string;
  readonly #book: EdgeBook;
  readonly #tails = new Map<string, LogTail>();
  readonly #startedAt = Date.now();
  readonly #groups = new Map<string, string>();
  #status: MeshStatus;
  #samples: Sample[] = [];
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
    this.#book = new EdgeBook((pod) => this.#groups.get(pod) ?? pod);
    this.#learnPods();
    for (const { name } of status.report.nodes) this.#tail(name, 'end');
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
    for (const { name } of this.#status.report.nodes)
      for (const json of this.#tail(name, 'start').read()) {
        const line = parseAccessLine(json);
        if (line !== undefined) this.#book.add(line);
      }
    const live = await Promise.all(this.#status.report.nodes.map(({ netns }) => liveConnections(netns)));
    this.#book.setLive(live.flat());
    this.#noteChanges();
  }

  /** The edges as they stand. */
  edges(): Edge[] {
    return this.#book.edges();
  }

  view(): View {
    const { report, controller } = this.#status;
    return {
      mesh: this.#mesh,
      elapsedMs: Date.now() - this.#startedAt,
      manifests: report.manifests,
      pods: this.#pods(),
      edges: this.edges(),
      rateOf: (edge) => this.#rate(edge),
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
        name: pod.name,
        node: pod.node,
        ip: pod.ip,
        state: stateOf(pod.wantsEnrolment, enrolled[pod.uid]?.verified === true),
        ready: pod.ready,
      }))
      .sort((a, b) => (a.name < b.name ? -1 : 1));
  }

  #tail(node: string, from: 'start' | 'end'): LogTail {
    const known = this.#tails.get(node);
    if (known) return known;
    const tail = new LogTail(meshPaths(this.#mesh).logOf('ztunnel', node), from);
    this.#tails.set(node, tail);
    return tail;
  }

  /** Pods of one service account are one party: that is who they prove to be. */
  #learnPods(): void {
    for (const pod of this.#status.report.pods)
      this.#groups.set(
        `${pod.namespace}/${pod.name}`,
        pod.namespace === 'shop' ? pod.serviceAccount : `${pod.namespace}/${pod.serviceAccount}`,
      );
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
    const last = this.#samples.at(-1)?.counts;
    for (const [name, { completed, denied, errors, live }] of counts) {
      const before = last?.get(name) ?? { completed: 0, denied: 0, errors: 0 };
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
    this.#samples = [...this.#samples.filter((sample) => at - sample.at <= RATE_WINDOW_MS), { at, counts }];
  }

  #isIdle(edge: Edge): boolean {
    const seenAt = this.#activeAt.get(`${edge.from} → ${edge.to}`);
    const lookedAt = this.#samples.at(-1)?.at;
    return seenAt !== undefined && lookedAt !== undefined && lookedAt - seenAt > IDLE_AFTER_MS;
  }

  #rate(edge: Edge): number {
    const first = this.#samples[0];
    const last = this.#samples.at(-1);
    if (first === undefined || last === undefined || last.at === first.at) return 0;
    const name = `${edge.from} → ${edge.to}`;
    const grown = (last.counts.get(name)?.completed ?? 0) - (first.counts.get(name)?.completed ?? 0);
    return Math.max(0, grown) / ((last.at - first.at) / 1000);
  }
}

/**
 * What to say about pods that left the mesh or joined it; pods that are new or gone are none of them.
 *
 * @param before whether a pod is in the mesh, by name
 */
export function enrolmentEvents(
  before: ReadonlyMap<string, boolean>,
  now: ReadonlyMap<string, boolean>,
): string[] {
  const changed = (to: boolean): string[] =>
    [...now].filter(([name, is]) => is === to && before.get(name) === !to).map(([name]) => name);
  const [left, joined] = [changed(false), changed(true)];
  const who = (names: readonly string[]): string =>
    names.length === 1 ? `pod ${names[0] ?? ''}` : `${names.length} pods`;
  const events: string[] = [];
  if (left.length > 0)
    events.push(
      `${who(left)} left the mesh: ${left.length === 1 ? 'its' : 'their'} calls are no longer seen, no policy holds`,
    );
  if (joined.length > 0) events.push(`${who(joined)} joined the mesh`);
  return events;
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
