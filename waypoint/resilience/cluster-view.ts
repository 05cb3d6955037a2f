import { Group } from './balancer.ts';
import type { EndpointState } from './endpoint.ts';
import { HashRing } from './hash-ring.ts';
import type { OutlierDetector, OutlierEvent } from './outlier-detector.ts';

/** The usable endpoints of one locality rank; never empty. */
export interface Rank {
  readonly rank: number;
  readonly group: Group;
}

interface OnRing {
  readonly key: string;
  readonly weight: number;
  readonly rank: number;
  readonly state: EndpointState;
}

/**
 * Which endpoints may be used at a time, nearest first: what choosing would else work out for each request. Made anew only
 * as endpoints or ejections change, and as an ejection ends.
 */
export class ClusterView {
  readonly #detector: OutlierDetector;
  readonly #emit: (event: OutlierEvent) => void;
  readonly #byUid = new Map<string, EndpointState>();
  readonly #rings = new Map<number, HashRing<OnRing>>();
  #onRing = new Map<string, OnRing>();
  /** All that are listed, weight 0 included. */
  #listed: readonly EndpointState[] = [];
  #ignoreLocality = false;
  #fresh = false;
  #nextReadmission = Infinity;
  #panic = false;
  #ranks: readonly Rank[] = [];
  #counts = { ready: 0, ejected: 0 };

  constructor(detector: OutlierDetector, emit: (event: OutlierEvent) => void) {
    this.#detector = detector;
    this.#emit = emit;
  }

  /** Nearest first; only ranks that have a usable endpoint. As of the last {@link refresh}. */
  get ranks(): readonly Rank[] {
    return this.#ranks;
  }

  /** Endpoints that are ready, with weight, and how many of them are ejected. As of the last {@link refresh}. */
  get counts(): { readonly ready: number; readonly ejected: number } {
    return this.#counts;
  }

  /** Listed endpoints with a weight. */
  get size(): number {
    return this.#onRing.size;
  }

  byUid(uid: string): EndpointState | undefined {
    return this.#byUid.get(uid);
  }

  /** Whether it may get requests now. As of the last {@link refresh}. */
  usable(state: EndpointState): boolean {
    return (
      state.listed && state.endpoint.healthy && (this.#panic || state.outlier.ejectedUntil === undefined)
    );
  }

  /** Ready endpoints with a weight that are ejected. As of the last {@link refresh}. */
  ejected(): readonly EndpointState[] {
    if (this.#counts.ejected === 0) return [];
    return this.#listed.filter(
      ({ endpoint, outlier }) =>
        endpoint.healthy && endpoint.weight > 0 && outlier.ejectedUntil !== undefined,
    );
  }

  update(listed: readonly EndpointState[], ignoreLocality: boolean): void {
    this.#listed = listed;
    this.#ignoreLocality = ignoreLocality;
    this.#byUid.clear();
    const onRing = new Map<string, OnRing>();
    for (const state of listed) {
      const { uid, weight } = state.endpoint;
      this.#byUid.set(uid, state);
      if (weight > 0) onRing.set(state.key, { key: state.key, weight, rank: this.#rankOf(state), state });
    }
    if (!sameMembers(this.#onRing, onRing)) this.#rings.clear();
    this.#onRing = onRing;
    this.invalidate();
  }

  /** An ejection began: the next {@link refresh} looks again. */
  invalidate(): void {
    this.#fresh = false;
  }

  /** Brings everything to `now`; does nothing most of the time. */
  refresh(now: number): void {
    if (this.#fresh && now < this.#nextReadmission) return;
    this.#fresh = true;
    this.#nextReadmission = Infinity;
    const counts = { ready: 0, ejected: 0 };
    for (const state of this.#listed) {
      if (this.#detector.readmit(state, now)) state.warmSince = now;
      const until = state.outlier.ejectedUntil;
      if (until !== undefined) this.#nextReadmission = Math.min(this.#nextReadmission, until);
      if (!state.endpoint.healthy || state.endpoint.weight === 0) continue;
      counts.ready++;
      if (until !== undefined) counts.ejected++;
    }
    this.#counts = counts;
    const panic = this.#detector.panic(counts);
    if (panic !== this.#panic) this.#emit({ kind: 'panic', on: panic });
    this.#panic = panic;
    this.#ranks = this.#group();
  }

  /**
   * The ring of a rank. It holds its unusable endpoints too, which are walked past: so an ejection or a failing probe moves
   * their keys only, and costs no new ring.
   */
  ringOf({ rank }: Rank): HashRing<OnRing> {
    let ring = this.#rings.get(rank);
    if (ring === undefined) {
      ring = new HashRing([...this.#onRing.values()].filter((member) => member.rank === rank));
      this.#rings.set(rank, ring);
    }
    return ring;
  }

  #group(): readonly Rank[] {
    const byRank = new Map<number, EndpointState[]>();
    for (const { rank, state } of this.#onRing.values()) {
      if (!this.usable(state)) continue;
      const members = byRank.get(rank);
      if (members === undefined) byRank.set(rank, [state]);
      else members.push(state);
    }
    return [...byRank]
      .sort(([a], [b]) => a - b)
      .map(([rank, members]) => ({ rank, group: new Group(members) }));
  }

  #rankOf(state: EndpointState): number {
    return this.#ignoreLocality ? 0 : state.endpoint.rank;
  }
}

/** Whether a ring of the one is a ring of the other: the states are the same objects where the keys are. */
function sameMembers(a: ReadonlyMap<string, OnRing>, b: ReadonlyMap<string, OnRing>): boolean {
  if (a.size !== b.size) return false;
  for (const [key, { weight, rank, state }] of a) {
    const other = b.get(key);
    if (other?.weight !== weight || other.rank !== rank || other.state !== state) return false;
  }
  return true;
}
