import { EventEmitter } from 'node:events';
import type { EdgeWindow, FlowEvent } from '../../lib/flow/event.ts';
import { EdgeCounts, Names } from '../../lib/flow/edge-counts.ts';
import { Histogram } from '../../lib/flow/histogram.ts';
import type { DashboardState, Point, SplitView } from '../../lib/flow/view.ts';
import { errorText } from '../../lib/loam-error.ts';
import { EMPTY_CATALOG, type Catalog } from '../../lib/flow/catalog.ts';
import { FlowFeed, type FlowProducer } from './feed.ts';
import { buildGraph, Naming } from './graph.ts';
import { GraphStore, HISTORY_MS, STEP_MS } from './graph-store.ts';

const CATALOG_INTERVAL_MS = 3_000;
/** The last events are kept for who begins to look. */
const EVENTS_KEPT = 500;

export interface ObservatoryOptions {
  readonly producers: () => Promise<readonly FlowProducer[]>;
  readonly catalog: () => Promise<Catalog>;
}

/** All that is seen of a mesh from outside, with the last minutes: flows, and what its objects say. */
export class Observatory {
  readonly #options: ObservatoryOptions;
  readonly #store = new GraphStore();
  readonly #feed: FlowFeed;
  readonly #events = new EventEmitter<{ event: [FlowEvent] }>();
  readonly #recent: FlowEvent[] = [];
  #catalog: Catalog = EMPTY_CATALOG;
  #problem: string | undefined;
  #timer: NodeJS.Timeout | undefined;

  constructor(options: ObservatoryOptions) {
    this.#options = options;
    this.#events.setMaxListeners(100);
    this.#feed = new FlowFeed({
      list: options.producers,
      events: 'all',
      onRecord: (record, producer) => {
        if (record.kind === 'window') this.#store.add(record, producer);
        else if (record.kind === 'opened' || record.kind === 'ended' || record.kind === 'request') {
          this.#recent.push(record);
          if (this.#recent.length > EVENTS_KEPT) this.#recent.shift();
          this.#events.emit('event', record);
        }
      },
    });
  }

  /** Begins to look. @throws Error when the mesh cannot be asked at all */
  async start(): Promise<void> {
    this.#catalog = await this.#options.catalog();
    await this.#feed.start();
    this.#timer = setTimeout(() => void this.#lookAgain(), CATALOG_INTERVAL_MS).unref();
  }

  close(): void {
    clearTimeout(this.#timer);
    this.#feed.close();
  }

  get catalog(): Catalog {
    return this.#catalog;
  }

  /** The last events, the oldest first. */
  get recent(): readonly FlowEvent[] {
    return this.#recent;
  }

  /** @returns ends it */
  onEvent(listener: (event: FlowEvent) => void): () => void {
    this.#events.on('event', listener);
    return () => this.#events.off('event', listener);
  }

  /**
   * What the dashboard shows of a time.
   *
   * @param until ms since the epoch; undefined: now
   */
  state(windowMs: number, until: number | undefined, by: 'app' | 'workload' = 'app'): DashboardState {
    const { edges, ms } = this.#store.select(windowMs, until);
    const at = until ?? Date.now();
    const { producers, problem } = this.#feed.states();
    const problems = [this.#problem, problem].filter((each) => each !== undefined);
    return {
      graph: buildGraph(edges, ms, at, this.#catalog, by),
      splits: splitsOf(edges),
      ...(this.#store.since !== undefined && { since: this.#store.since }),
      historyMs: HISTORY_MS,
      stepMs: STEP_MS,
      producers: producers.map(({ name, connected, problem: why, lostEvents, lostWindows }) => ({
        ...{ name, connected, lostEvents, lostWindows },
        ...(why !== undefined && { problem: why }),
      })),
      problems: [...problems.map((why) => ({ what: 'dashboard', why })), ...this.#catalog.problems],
    };
  }

  /**
   * A line over time of all that goes to a node, or between two.
   *
   * @param to id of a node; undefined: to any
   */
  series(windowMs: number, until: number | undefined, to?: string, from?: string): Point[] {
    const naming = new Naming(this.#catalog);
    return this.#store.steps(windowMs, until).map(({ from: at, edges }) => {
      const durations = new Histogram();
      let [ended, failed, denied] = [0, 0, 0];
      for (const edge of edges) {
        if (!isCounted(edge, naming)) continue;
        if (to !== undefined && naming.party(edge.destination, edge.backend ?? edge.service).id !== to)
          continue;
        if (from !== undefined && naming.party(edge.source).id !== from) continue;
        ended += edge.ended;
        failed += edge.failed;
        for (const count of Object.values(edge.denied ?? {})) denied += count;
        durations.merge(edge.durations);
      }
      const seconds = Math.max(1, Math.min(STEP_MS, Date.now() - at) / 1000);
      const [p50, p95] = durations.quantiles([0.5, 0.95]);
      return {
        at,
        ...{ rate: ended / seconds, failed: failed / seconds, denied: denied / seconds },
        ...(p50 !== undefined && p95 !== undefined && { p50, p95 }),
      };
    });
  }

  async #lookAgain(): Promise<void> {
    try {
      this.#catalog = await this.#options.catalog();
      this.#problem = undefined;
    } catch (error) {
      this.#problem = errorText(error);
    }
    this.#timer = setTimeout(() => void this.#lookAgain(), CATALOG_INTERVAL_MS).unref();
  }
}

/** As the graph counts, but for what the source alone saw fail. */
function isCounted(edge: EdgeWindow, naming: Naming): boolean {
  if (edge.layer === 'request' || edge.side === 'waypoint') return true;
  if (edge.side === 'destination') return edge.via === undefined && !naming.isWaypoint(edge.source);
  return !edge.mtls;
}

/** How the rules of routes split their requests. */
function splitsOf(edges: readonly EdgeWindow[]): SplitView[] {
  const sums = new Map<string, { route: string; backend: string; counts: EdgeCounts; names: Names }>();
  for (const edge of edges) {
    const { route } = edge;
    if (edge.layer !== 'request' || route === undefined) continue;
    const backend = edge.backend ?? edge.service ?? '';
    const key = `${route}\n${backend}`;
    let sum = sums.get(key);
    if (sum === undefined) {
      sum = { route, backend, counts: new EdgeCounts('request', edge), names: new Names() };
      sums.set(key, sum);
    }
    sum.counts.add(edge);
    const { destination } = edge;
    if (destination.workload !== undefined)
      sum.names.add(`${destination.namespace ?? ''}/${destination.workload}`, edge.ended);
  }
  return [...sums.values()].map(({ route, backend, counts, names }) => {
    const [p50, p95, p99] = counts.durations.quantiles([0.5, 0.95, 0.99]);
    return {
      ...{ route, backend, ended: counts.ended, failed: counts.failed, retries: counts.retries },
      denied: counts.denied.total,
      ...(p50 !== undefined && p95 !== undefined && p99 !== undefined && { p50, p95, p99 }),
      codes: counts.codes.toRecord() ?? {},
      workloads: names.toRecord() ?? {},
    };
  });
}
