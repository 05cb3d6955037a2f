import { EdgeCounts, edgeKey } from './edge-counts.ts';
import { isNotable, type EdgeWindow, type FlowEvent, type FlowFacts, type FlowWindow } from './event.ts';

/** Events leave a worker in batches, so often. */
export const BATCH_MS = 200;
export const WINDOW_MS = 1_000;
/** Events of one batch; as many again where something was denied or failed. What is more is in the windows alone. */
const MAX_EVENTS = 400;
export const EVENTS_PER_SECOND = (MAX_EVENTS * 1_000) / BATCH_MS;
/** Edges of one window; what is more is summed up under unknown ends. */
const MAX_EDGES = 4_000;

/** What somebody watches: nothing is made for nobody. */
export type WatchLevel = 'off' | 'windows' | 'events';

/** What a worker hands to the main thread; plain data, by structured clone. */
export interface FlowBatch {
  readonly events: readonly FlowEvent[];
  /** Events that were too many. */
  readonly lost: number;
  readonly window?: FlowWindow;
}

/** A connection that is open, as the windows count it. */
export interface LiveFlow {
  /** What is known of both ends now. */
  readonly facts: FlowFacts;
  /** Bytes since the last call, from and to the client. */
  takeGrowth(): readonly [up: number, down: number];
}

/**
 * A worker's side of the flow stream: sums up what happens on each edge, exactly, and keeps single events as long as there is
 * room. While nobody watches it holds nothing, has no timer, and whoever would tell it something asks {@link level} first.
 */
export class FlowRecorder {
  readonly #post: (batch: FlowBatch) => void;
  readonly #live: () => Iterable<LiveFlow>;
  #level: WatchLevel = 'off';
  #edges = new Map<string, EdgeCounts>();
  #overflow = new Set<string>();
  #events: FlowEvent[] = [];
  #notable = 0;
  #lost = 0;
  #batchTimer: NodeJS.Timeout | undefined;
  #windowTimer: NodeJS.Timeout | undefined;
  #windowFrom = 0;

  /** @param live the connections that are open; none where only requests are told */
  constructor(post: (batch: FlowBatch) => void, live: () => Iterable<LiveFlow> = () => []) {
    this.#post = post;
    this.#live = live;
  }

  get level(): WatchLevel {
    return this.#level;
  }

  watch(level: WatchLevel): void {
    const before = this.#level;
    this.#level = level;
    if (level === 'off') {
      clearInterval(this.#windowTimer);
      clearTimeout(this.#batchTimer);
      this.#windowTimer = this.#batchTimer = undefined;
      this.#edges.clear();
      this.#overflow.clear();
      this.#events = [];
      this.#notable = this.#lost = 0;
    } else if (before === 'off') {
      // What moved before somebody looked is none of the first window's.
      for (const live of this.#live()) live.takeGrowth();
      this.#windowFrom = performance.now();
      this.#windowTimer = setInterval(() => this.#closeWindow(), WINDOW_MS).unref();
    }
  }

  /** The counts of an edge in the window that is open; ask only while somebody watches. */
  edge(layer: EdgeWindow['layer'], facts: FlowFacts): EdgeCounts {
    const bounded = withoutAddresses(facts);
    const key = edgeKey(layer, bounded);
    const known = this.#edges.get(key);
    if (known !== undefined) return known;
    if (this.#edges.size >= MAX_EDGES) {
      this.#overflow.add(key);
      return this.#overflowEdge(layer, facts);
    }
    const counts = new EdgeCounts(layer, bounded);
    this.#edges.set(key, counts);
    return counts;
  }

  /** @param make asked only where somebody watches events */
  event(make: () => FlowEvent): void {
    if (this.#level !== 'events') return;
    this.#batchTimer ??= setTimeout(() => this.#flush(), BATCH_MS).unref();
    const hasRoom = this.#events.length - this.#notable < MAX_EVENTS;
    if (!hasRoom && this.#notable >= MAX_EVENTS) {
      this.#lost += 1;
      return;
    }
    const event = make();
    const notable = isNotable(event);
    if (notable ? this.#notable >= MAX_EVENTS : !hasRoom) {
      this.#lost += 1;
      return;
    }
    if (notable) this.#notable += 1;
    this.#events.push(event);
  }

  #overflowEdge(layer: EdgeWindow['layer'], { side, mtls }: FlowFacts): EdgeCounts {
    const facts: FlowFacts = { side, mtls, source: {}, destination: {} };
    const key = edgeKey(layer, facts);
    const known = this.#edges.get(key);
    if (known !== undefined) return known;
    const counts = new EdgeCounts(layer, facts);
    this.#edges.set(key, counts);
    return counts;
  }

  #flush(window?: FlowWindow): void {
    clearTimeout(this.#batchTimer);
    this.#batchTimer = undefined;
    const batch = { events: this.#events, lost: this.#lost, ...(window && { window }) };
    this.#events = [];
    this.#notable = this.#lost = 0;
    this.#post(batch);
  }

  #closeWindow(): void {
    for (const live of this.#live()) {
      const [up, down] = live.takeGrowth();
      const counts = this.edge('connection', live.facts);
      counts.active += 1;
      counts.up += up;
      counts.down += down;
    }
    const now = performance.now();
    const window: FlowWindow = {
      kind: 'window',
      at: Date.now(),
      ms: Math.round(now - this.#windowFrom),
      edges: [...this.#edges.values()].map((counts) => counts.toWindow()),
      overflow: this.#overflow.size,
    };
    this.#windowFrom = now;
    this.#edges = new Map();
    this.#overflow.clear();
    this.#flush(window);
  }
}

/** So that clients without a workload make no edge of their own for each of their ports. */
function withoutAddresses(facts: FlowFacts): FlowFacts {
  const { ip: sourceIp, port: _sourcePort, ...source } = facts.source;
  const { ip, ...destination } = facts.destination;
  return {
    ...facts,
    source: { ...source, ...(source.workload === undefined && sourceIp !== undefined && { ip: sourceIp }) },
    destination: { ...destination, ...(destination.workload === undefined && ip !== undefined && { ip }) },
  };
}
