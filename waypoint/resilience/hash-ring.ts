import { hash32, mix } from './hash.ts';

/** Points of an endpoint of usual weight: with 128, loads differ by some ten percent. */
const POINTS = 128;
const LEAST_POINTS = 16;
/** Aim for the whole ring, so that a large Service does not stall the event loop as it changes. */
const RING_POINTS = 32_768;

/** A point holds its place (32 bits) and its member's index (20 bits) in one exact double, so that a plain sort orders them. */
const INDEX_RANGE = 2 ** 20;

export interface RingMember {
  readonly key: string;
  /** Above 0. */
  readonly weight: number;
}

/**
 * Consistent hashing by a ring. Where a member stands on it depends on the member alone, so one that comes or goes takes or
 * gives only its own share; one that may not be used for now is walked past, and just its keys move.
 */
export class HashRing<M extends RingMember> {
  readonly #members: readonly M[];
  readonly #points: Float64Array;

  constructor(members: readonly M[]) {
    this.#members = members.slice(0, INDEX_RANGE);
    const perWeight = pointsPerWeight(this.#members);
    const counts = this.#members.map(({ weight }) => Math.max(1, Math.round(weight * perWeight)));
    this.#points = new Float64Array(counts.reduce((sum, count) => sum + count, 0));
    let next = 0;
    this.#members.forEach(({ key }, index) => {
      const seed = hash32(key);
      for (let i = 0; i < (counts[index] ?? 0); i++) {
        this.#points[next++] = mix(seed + Math.imul(i, 0x9e3779b1)) * INDEX_RANGE + index;
      }
    });
    this.#points.sort();
  }

  /**
   * The member that a key belongs to among those that `usable` admits; undefined when it admits none.
   *
   * @param usable asked in the order of the ring, once for each member
   */
  find(key: string, usable: (member: M) => boolean): M | undefined {
    const points = this.#points;
    const start = this.#firstAt(hash32(key) * INDEX_RANGE);
    let refused: Set<M> | undefined;
    for (let step = 0; step < points.length; step++) {
      const point = points[(start + step) % points.length] ?? 0;
      const member = this.#members[point % INDEX_RANGE];
      if (member === undefined || refused?.has(member)) continue;
      if (usable(member)) return member;
      refused ??= new Set();
      refused.add(member);
      if (refused.size === this.#members.length) return undefined;
    }
    return undefined;
  }

  #firstAt(place: number): number {
    let low = 0;
    let high = this.#points.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((this.#points[middle] ?? 0) < place) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}

/**
 * Both the mean weight and the number of members count only as powers of two: every step between would move the points of
 * all members for the sake of one that came or went.
 */
function pointsPerWeight(members: readonly RingMember[]): number {
  if (members.length === 0) return 0;
  const mean = members.reduce((sum, member) => sum + member.weight, 0) / members.length;
  const each = Math.min(POINTS, Math.max(LEAST_POINTS, powerOfTwo(RING_POINTS / members.length)));
  return each / powerOfTwo(mean);
}

function powerOfTwo(value: number): number {
  return 2 ** Math.floor(Math.log2(value));
}
