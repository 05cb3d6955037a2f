import { EdgeCounts, edgeKey } from '../../lib/flow/edge-counts.ts';
import type { EdgeWindow, FlowWindow } from '../../lib/flow/event.ts';

/** Windows are kept summed up to so much time; what is shown of a moment is right to that. */
export const STEP_MS = 5_000;
/** How far back one can look. */
export const HISTORY_MS = 10 * 60_000;
/** Steps that are kept. */
const STEPS = HISTORY_MS / STEP_MS;

/** Of one producer in a step: all that a program tells in its windows of that time. One that tells more is none of ours. */
export const MAX_PRODUCER_EDGES = 20_000;

interface Step {
  readonly from: number;
  readonly edges: ReadonlyMap<string, EdgeCounts>;
}

interface OpenStep extends Step {
  readonly edges: Map<string, EdgeCounts>;
  /** How many of them each producer has told. */
  readonly told: Map<string, number>;
}

/** A step that is over: as windows, which take a fraction of the memory. */
interface Closed {
  readonly from: number;
  readonly edges: readonly EdgeWindow[];
  /** What tells each of the edges from the others, in the same order. */
  readonly keys: readonly string[];
}

/** Sums of so many times are kept: those that pages show now. */
const SUMS = 4;

/** All windows of all producers, of the last minutes. */
export class GraphStore {
  #closed: Closed[] = [];
  #open: OpenStep | undefined;
  #firstAt: number | undefined;
  readonly #now: () => number;
  /** Closed steps summed up, by the first and last of them: a page asks for the same ones until the next is closed. */
  readonly #sums = new Map<string, readonly EdgeWindow[]>();

  /** @param now ms since the epoch */
  constructor(now: () => number = Date.now) {
    this.#now = now;
  }

  /** Since when there is something; undefined: nothing came yet. */
  get since(): number | undefined {
    if (this.#firstAt === undefined) return undefined;
    return Math.max(this.#firstAt, this.#now() - HISTORY_MS);
  }

  /** Takes a window over. It counts for the moment of its arrival: clocks of nodes differ. */
  add(window: FlowWindow, producer: string): void {
    const at = this.#now();
    this.#firstAt ??= at - window.ms;
    const open = this.#stepAt(at);
    for (const edge of window.edges) {
      const key = `${producer}\n${edgeKey(edge.layer, edge)}`;
      let counts = open.edges.get(key);
      if (counts === undefined) {
        const told = open.told.get(producer) ?? 0;
        if (told >= MAX_PRODUCER_EDGES) continue;
        open.told.set(producer, told + 1);
        counts = new EdgeCounts(edge.layer, factsOf(edge));
        open.edges.set(key, counts);
      }
      counts.add(edge);
    }
  }

  /**
   * What happened in a time, one after the other; an edge comes several times.
   *
   * @param until ms since the epoch; undefined: now
   * @param ms how long before
   * @returns the edges, and the time that they really stand for
   */
  select(ms: number, until?: number): { readonly edges: readonly EdgeWindow[]; readonly ms: number } {
    const now = this.#now();
    const end = Math.min(until ?? now, now);
    const begin = end - ms;
    const isIn = ({ from }: { from: number }): boolean =>
      from + STEP_MS > begin && (from < end || until === undefined);
    const steps = this.#closed.filter(isIn);
    const open = this.#open !== undefined && isIn(this.#open) ? closed(this.#open) : undefined;
    const first = (steps[0] ?? open)?.from ?? end;
    const covered = end - Math.max(first, this.#firstAt ?? end);
    return { edges: [...this.#sumOf(steps), ...(open?.edges ?? [])], ms: Math.max(1_000, covered) };
  }

  /** Each step of a time, the oldest first; for lines over time. */
  steps(
    ms: number,
    until?: number,
  ): readonly { readonly from: number; readonly edges: readonly EdgeWindow[] }[] {
    const now = this.#now();
    const end = Math.min(until ?? now, now);
    return [...this.#closed, ...(this.#open === undefined ? [] : [closed(this.#open)])].filter(
      ({ from }) => from + STEP_MS > end - ms && (from < end || until === undefined),
    );
  }

  #sumOf(steps: readonly Closed[]): readonly EdgeWindow[] {
    const [first, last] = [steps[0], steps.at(-1)];
    if (first === undefined || last === undefined || first === last) return first?.edges ?? [];
    const key = `${first.from} ${last.from}`;
    let sum = this.#sums.get(key);
    if (sum === undefined) {
      sum = summedUp(steps);
      if (this.#sums.size >= SUMS) this.#sums.delete(this.#sums.keys().next().value ?? '');
      this.#sums.set(key, sum);
    }
    return sum;
  }

  #stepAt(at: number): OpenStep {
    const from = Math.floor(at / STEP_MS) * STEP_MS;
    if (this.#open !== undefined && this.#open.from === from) return this.#open;
    if (this.#open !== undefined) this.#closed.push(closed(this.#open));
    this.#closed = this.#closed.filter((step) => step.from > from - HISTORY_MS).slice(-STEPS);
    this.#open = { from, edges: new Map(), told: new Map() };
    return this.#open;
  }
}

function closed({ from, edges }: Step): Closed {
  return { from, edges: [...edges.values()].map((counts) => counts.toWindow()), keys: [...edges.keys()] };
}

/** Each edge once; as windows add up, with the most open connections of any (see {@link EdgeCounts.add}). */
function summedUp(steps: readonly Closed[]): EdgeWindow[] {
  const sums = new Map<string, EdgeCounts>();
  for (const { edges, keys } of steps)
    edges.forEach((edge, n) => {
      const key = keys[n] ?? '';
      let sum = sums.get(key);
      if (sum === undefined) {
        sum = new EdgeCounts(edge.layer, factsOf(edge));
        sums.set(key, sum);
      }
      sum.add(edge);
    });
  return [...sums.values()].map((sum) => sum.toWindow());
}

function factsOf(edge: EdgeWindow): EdgeCounts['facts'] {
  const { side, source, destination, service, backend, route, mtls, via, viaIdentity, observed } = edge;
  return {
    ...{ side, source, destination, mtls },
    ...(service !== undefined && { service }),
    ...(backend !== undefined && { backend }),
    ...(route !== undefined && { route }),
    ...(via !== undefined && { via }),
    ...(viaIdentity !== undefined && { viaIdentity }),
    ...(observed === true && { observed }),
  };
}
