import { EdgeCounts } from '../../lib/flow/edge-counts.ts';
import type { EdgeWindow } from '../../lib/flow/event.ts';
import type { GraphEdge } from '../../lib/flow/view.ts';

/** What both ends of observed connections told, each by itself: nobody proves who called, so the two are not one by an identity. */
export class ObservedSum {
  readonly #here: EdgeCounts;
  readonly #there: EdgeCounts;

  constructor(first: EdgeWindow) {
    const facts = { side: first.side, source: {}, destination: {}, mtls: false, observed: true } as const;
    this.#here = new EdgeCounts('connection', facts);
    this.#there = new EdgeCounts('connection', facts);
  }

  add(edge: EdgeWindow): void {
    (edge.side === 'source' ? this.#here : this.#there).add(edge);
  }

  /** Adds them up: the destination's word counts where it has one, with what never arrived there. */
  into(sum: EdgeCounts): void {
    const { ended, opened, active } = this.#there;
    if (ended + opened + active === 0) sum.merge(this.#here);
    else {
      sum.merge(this.#there);
      sum.ended += this.#here.failed;
      sum.failed += this.#here.failed;
      sum.flags.merge(this.#here.flags.toRecord());
    }
  }

  get retransmits(): number {
    return this.#here.retransmits + this.#there.retransmits;
  }

  /** As the caller has them, where it is observed. */
  quantiles(): (number | undefined)[] {
    return (this.#here.rtt.total > 0 ? this.#here : this.#there).rtt.quantiles([0.5, 0.95]);
  }
}

/** Adds an observed edge to what is known of it. */
export function addObserved(sum: ObservedSum | undefined, edge: EdgeWindow): ObservedSum {
  const known = sum ?? new ObservedSum(edge);
  known.add(edge);
  return known;
}

export function observedOf(sum: ObservedSum): NonNullable<GraphEdge['observed']> {
  const [rtt50, rtt95] = sum.quantiles();
  return {
    retransmits: sum.retransmits,
    ...(rtt50 !== undefined && rtt95 !== undefined && { rtt50, rtt95 }),
  };
}
