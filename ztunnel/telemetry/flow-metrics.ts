import type { ResponseFlag } from '../../lib/mesh/hbone/proxy-error.ts';
import { flowLabelValues, overflowLabelValues, withFlag, type Flow } from './flow-labels.ts';

/** So many label sets are kept apart; what is more goes into one set of unknowns, so that peers cannot exhaust memory. */
const MAX_LABEL_SETS = 10_000;
/** A label set without a connection for so long is forgotten here and in the registry. */
const IDLE_EVICTION_MS = 600_000;
/** So many egress policies, alone or together, are counted by name; the rest under no name. */
const MAX_EGRESS_SETS = 1_000;

/** Why an application's connection was refused or cut by the rules at its source. */
export type EgressReason = 'policy' | 'registry-only' | 'not-told' | 'changed';

/** Growth of the counters of one label set since the last batch. */
export interface FlowDelta {
  readonly labels: readonly string[];
  readonly opened: number;
  readonly closed: number;
  readonly failed: number;
  readonly sent: number;
  readonly received: number;
}

/** What the connection worker tells the metrics registry. */
export interface MetricsBatch {
  readonly flows: readonly FlowDelta[];
  /** Label sets to be removed from the registry. */
  readonly evicted: readonly (readonly string[])[];
  readonly refused: Readonly<Record<string, number>>;
  readonly egress: readonly EgressRefusals[];
}

/** Connections refused or cut for one reason by the same policies. */
export interface EgressRefusals {
  readonly reason: EgressReason;
  /** Names of the policies, joined by a comma and a space; empty where no policy has a say. */
  readonly policy: string;
  readonly count: number;
}

interface Counts {
  opened: number;
  closed: number;
  failed: number;
  sent: number;
  received: number;
  dirty: boolean;
}

/** The counters of one flow, resolved once a connection: each event afterwards is an addition. */
export class FlowHandle {
  readonly #values: readonly string[];
  readonly #byFlag = new Map<ResponseFlag, Counts>();
  readonly #plain: Counts;
  /** Which way is "sent": the metric counts response bytes as sent, for both reporters (istio/istio#32399). */
  open = 0;
  lastUsed = performance.now();

  constructor(values: readonly string[]) {
    this.#values = values;
    this.#plain = this.#counts('-');
  }

  opened(): void {
    this.open += 1;
    this.#plain.opened += 1;
    this.#plain.dirty = true;
  }

  /** For each connection that was counted as opened. */
  closed(flag: ResponseFlag): void {
    this.open -= 1;
    this.lastUsed = performance.now();
    const counts = this.#counts(flag);
    counts.closed += 1;
    counts.dirty = true;
  }

  failed(flag: ResponseFlag): void {
    this.lastUsed = performance.now();
    const counts = this.#counts(flag);
    counts.failed += 1;
    counts.dirty = true;
  }

  /** Bytes from the client to the server. */
  request(bytes: number): void {
    this.#plain.received += bytes;
    this.#plain.dirty = true;
  }

  /** Bytes from the server to the client. */
  response(bytes: number): void {
    this.#plain.sent += bytes;
    this.#plain.dirty = true;
  }

  /** What grew since the last call. */
  take(): FlowDelta[] {
    const deltas: FlowDelta[] = [];
    for (const [flag, counts] of this.#byFlag) {
      if (!counts.dirty) continue;
      const { opened, closed, failed, sent, received } = counts;
      deltas.push({ labels: withFlag(this.#values, flag), opened, closed, failed, sent, received });
      Object.assign(counts, zero());
    }
    return deltas;
  }

  /** All label sets that it ever filled. */
  labelSets(): string[][] {
    return [...this.#byFlag.keys()].map((flag) => withFlag(this.#values, flag));
  }

  #counts(flag: ResponseFlag): Counts {
    let counts = this.#byFlag.get(flag);
    if (counts === undefined) {
      counts = zero();
      this.#byFlag.set(flag, counts);
    }
    return counts;
  }
}

/** All flows' counters of one worker thread, handed over in batches. */
export class FlowMetrics {
  readonly #handles = new Map<string, FlowHandle>();
  readonly #maxLabelSets: number;
  #refused: Record<string, number> = {};
  readonly #egress = new Map<string, EgressRefusals>();
  readonly #egressPolicies = new Set<string>();

  constructor(maxLabelSets: number = MAX_LABEL_SETS) {
    this.#maxLabelSets = maxLabelSets;
  }

  handle(flow: Flow): FlowHandle {
    return this.#handleOf(flowLabelValues(flow), flow.reporter);
  }

  /** A connection that was refused before anything was known to label it with. */
  refused(reason: string): void {
    this.#refused[reason] = (this.#refused[reason] ?? 0) + 1;
  }

  /** A connection of an application that the rules at its source refused or cut. */
  egressRefused(reason: EgressReason, policies = ''): void {
    const known = this.#egressPolicies;
    const policy = known.has(policies) || known.size < MAX_EGRESS_SETS ? policies : '';
    known.add(policy);
    const key = `${reason} ${policy}`;
    this.#egress.set(key, { reason, policy, count: (this.#egress.get(key)?.count ?? 0) + 1 });
  }

  /** What grew since the last call, and what was idle for long enough to be forgotten. */
  takeBatch(now: number = performance.now()): MetricsBatch {
    const flows: FlowDelta[] = [];
    const evicted: string[][] = [];
    for (const [key, handle] of this.#handles) {
      const deltas = handle.take();
      flows.push(...deltas);
      if (deltas.length > 0) handle.lastUsed = now;
      else if (handle.open === 0 && now - handle.lastUsed > IDLE_EVICTION_MS) {
        this.#handles.delete(key);
        evicted.push(...handle.labelSets());
      }
    }
    const refused = this.#refused;
    this.#refused = {};
    const egress = [...this.#egress.values()];
    this.#egress.clear();
    return { flows, evicted, refused, egress };
  }

  #handleOf(values: string[], reporter: Flow['reporter']): FlowHandle {
    const key = values.join('\n');
    const known = this.#handles.get(key);
    if (known !== undefined) return known;
    const overflow = overflowLabelValues(reporter);
    const isOverflow = key === overflow.join('\n');
    if (!isOverflow && this.#handles.size >= this.#maxLabelSets) return this.#handleOf(overflow, reporter);
    const handle = new FlowHandle(values);
    this.#handles.set(key, handle);
    return handle;
  }
}

function zero(): Counts {
  return { opened: 0, closed: 0, failed: 0, sent: 0, received: 0, dirty: false };
}
