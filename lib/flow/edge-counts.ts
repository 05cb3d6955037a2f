import type { EdgeWindow, FlowFacts } from './event.ts';
import { Histogram } from './histogram.ts';

/** Names of policies, flags or codes that one edge counts apart; what is more is counted under `…`. */
const MAX_NAMES = 64;

/** What happened on one edge, to be added to. */
export class EdgeCounts {
  readonly facts: FlowFacts;
  readonly layer: EdgeWindow['layer'];
  ended = 0;
  opened = 0;
  active = 0;
  up = 0;
  down = 0;
  failed = 0;
  retries = 0;
  retransmits = 0;
  readonly denied = new Names();
  readonly allowed = new Names();
  readonly flags = new Names();
  readonly codes = new Names();
  readonly durations = new Histogram();
  readonly rtt = new Histogram();

  constructor(layer: EdgeWindow['layer'], facts: FlowFacts) {
    this.layer = layer;
    this.facts = facts;
  }

  /** Adds what a window counted; `active` is the most that were open at the end of one. */
  add(window: EdgeWindow): void {
    this.ended += window.ended;
    this.opened += window.opened;
    this.active = Math.max(this.active, window.active);
    this.up += window.up;
    this.down += window.down;
    this.failed += window.failed;
    this.retries += window.retries;
    this.denied.merge(window.denied);
    this.allowed.merge(window.allowed);
    this.flags.merge(window.flags);
    this.codes.merge(window.codes);
    this.durations.merge(window.durations);
    this.retransmits += window.retransmits ?? 0;
    if (window.rtt !== undefined) this.rtt.merge(window.rtt);
  }

  /** Adds what another one counted, open connections as well. */
  merge(other: EdgeCounts): void {
    const open = this.active + other.active;
    this.add(other.toWindow());
    this.active = open;
  }

  toWindow(): EdgeWindow {
    const { layer, ended, opened, active, up, down, failed, retries } = this;
    const [denied, allowed, flags, codes] = [this.denied, this.allowed, this.flags, this.codes].map((names) =>
      names.toRecord(),
    );
    return {
      ...this.facts,
      ...{ layer, ended, opened, active, up, down, failed, retries },
      ...(denied && { denied }),
      ...(allowed && { allowed }),
      ...(flags && { flags }),
      ...(codes && { codes }),
      durations: this.durations.toDurations(),
      ...(this.facts.observed && { retransmits: this.retransmits, rtt: this.rtt.toDurations() }),
    };
  }
}

/** Counts by name, of a bounded number of names. */
export class Names {
  readonly #counts = new Map<string, number>();

  add(name: string, count = 1): void {
    const key = this.#counts.has(name) || this.#counts.size < MAX_NAMES ? name : '…';
    this.#counts.set(key, (this.#counts.get(key) ?? 0) + count);
  }

  merge(counts: Readonly<Record<string, number>> | undefined): void {
    if (counts === undefined) return;
    for (const [name, count] of Object.entries(counts)) this.add(name, count);
  }

  get total(): number {
    let total = 0;
    for (const count of this.#counts.values()) total += count;
    return total;
  }

  entries(): IterableIterator<[string, number]> {
    return this.#counts.entries();
  }

  /** undefined: none. */
  toRecord(): Record<string, number> | undefined {
    return this.#counts.size === 0 ? undefined : Object.fromEntries(this.#counts);
  }
}

/** What tells one edge from another, as a text. */
export function edgeKey(layer: EdgeWindow['layer'], facts: FlowFacts): string {
  const { source, destination } = facts;
  return [
    layer,
    facts.side,
    ...[source, destination].flatMap(({ namespace, workload, ip, identity }) => [
      namespace,
      workload ?? ip,
      identity,
    ]),
    destination.port,
    facts.service,
    facts.backend,
    facts.route,
    facts.mtls ? 'mtls' : facts.observed === true ? 'observed' : '',
    facts.via,
    facts.viaIdentity,
  ].join('\n');
}
