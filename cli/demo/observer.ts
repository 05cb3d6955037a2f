import { askJson } from '../local/http.ts';
import { meshPaths } from '../local/paths.ts';
import { problemsOf } from '../local/problems.ts';
import { ZTUNNEL_ADMIN_PORT } from '../local/programs.ts';
import { meshStatus, type MeshStatus } from '../local/status.ts';
import { LogTail, parseAccessLine } from './access-log.ts';
import { EdgeBook, type Edge, type LiveRow } from './edges.ts';
import type { EventView, View } from './view.ts';

/** Rates are taken over this long. */
const RATE_WINDOW_MS = 2_000;
const EVENTS_SHOWN = 5;

interface Sample {
  readonly at: number;
  readonly counts: ReadonlyMap<string, { completed: number; denied: number }>;
}

/** Watches a mesh from outside, by what its programs tell: access logs, live connections, status. */
export class Observer {
  readonly #mesh: string;
  readonly #book: EdgeBook;
  readonly #tails = new Map<string, LogTail>();
  readonly #startedAt = Date.now();
  readonly #groups = new Map<string, string>();
  #status: MeshStatus;
  #samples: Sample[] = [];
  #events: EventView[] = [];
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
    const { report, enrolled } = this.#status;
    return {
      mesh: this.#mesh,
      elapsedMs: Date.now() - this.#startedAt,
      manifests: report.manifests,
      pods: report.pods
        .map((pod) => ({
          name: pod.name,
          node: pod.node,
          ip: pod.ip,
          state: stateOf(pod.wantsEnrolment, enrolled[pod.uid]?.verified === true),
          ready: pod.ready,
        }))
        .sort((a, b) => (a.name < b.name ? -1 : 1)),
      edges: this.edges(),
      rateOf: (edge) => this.#rate(edge),
      problems: problemsOf(this.#status),
      events: this.#events,
    };
  }

  close(): void {
    for (const tail of this.#tails.values()) tail.close();
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

  #event(text: string): void {
    const at = new Date().toTimeString().slice(0, 8);
    this.#events = [...this.#events, { at, text }].slice(-EVENTS_SHOWN);
  }

  #noteGeneration(status: MeshStatus): void {
    const before = this.#status.controller?.generation;
    const now = status.controller?.generation;
    if (before !== undefined && now !== undefined && before !== now)
      this.#event(`the manifests changed: generation ${now} is in force`);
  }

  /** Notes calls that begin to get through, or to be denied. */
  #noteChanges(): void {
    const counts = new Map(
      this.edges().map((edge) => [
        `${edge.from} → ${edge.to}`,
        { completed: edge.completed + edge.live, denied: edge.denied + edge.cut },
      ]),
    );
    const last = this.#samples.at(-1)?.counts;
    for (const [name, { completed, denied }] of counts) {
      const before = last?.get(name) ?? { completed: 0, denied: 0 };
      const now =
        denied > before.denied ? 'denied' : completed > before.completed ? 'through' : this.#said.get(name);
      if (now === undefined || now === this.#said.get(name)) continue;
      // The first look is not a change.
      if (this.#said.has(name))
        this.#event(now === 'denied' ? `${name} is denied now` : `${name} gets through now`);
      this.#said.set(name, now);
    }
    const at = Date.now();
    this.#samples = [...this.#samples.filter((sample) => at - sample.at <= RATE_WINDOW_MS), { at, counts }];
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
