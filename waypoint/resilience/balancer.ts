import { LoadBalancing_Algorithm as Algorithm } from '../../proto/gen/loam/waypoint/v1/waypoint_pb.js';
import type { EndpointState } from './endpoint.ts';
import { slowStartFactor } from './slow-start.ts';
import type { Random } from './time.ts';

/** How often a draw is repeated: for a warm endpoint, or for a second one that differs from the first. */
const DRAWS = 16;

export interface BalancerInput {
  readonly now: number;
  readonly random: Random;
  /** Milliseconds; 0: off. */
  readonly slowStart: number;
}

/** Endpoints of one locality rank that may all be used now, with what choosing by weight needs. None has weight 0. */
export class Group {
  readonly members: readonly EndpointState[];
  readonly #cumulative: Float64Array | undefined;
  readonly #total: number;

  constructor(members: readonly EndpointState[]) {
    this.members = members;
    const first = members[0]?.endpoint.weight;
    if (members.every((m) => m.endpoint.weight === first)) {
      this.#total = members.length;
    } else {
      let sum = 0;
      this.#cumulative = Float64Array.from(members, (m) => (sum += m.endpoint.weight));
      this.#total = sum;
    }
  }

  /** One at random by weight, and less often while it warms up. */
  draw(input: BalancerInput): EndpointState | undefined {
    let drawn: EndpointState | undefined;
    for (let i = 0; i < DRAWS; i++) {
      drawn = this.#drawByWeight(input.random);
      if (drawn === undefined || input.slowStart === 0) return drawn;
      const factor = slowStartFactor(drawn, input);
      if (factor === 1 || input.random() < factor) return drawn;
    }
    // Nearly everything is warming up: then nothing is gained by preferring one.
    return drawn;
  }

  #drawByWeight(random: Random): EndpointState | undefined {
    const at = random() * this.#total;
    const cumulative = this.#cumulative;
    if (cumulative === undefined) return this.members[Math.min(Math.floor(at), this.members.length - 1)];
    let low = 0;
    let high = cumulative.length - 1;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((cumulative[middle] ?? 0) > at) high = middle;
      else low = middle + 1;
    }
    return this.members[low];
  }
}

/**
 * Chooses from a group by an algorithm. A consistent hash is not made here (hash-ring.ts): without a key to hash it is
 * random.
 *
 * @returns undefined for an empty group
 */
export function choose(algorithm: Algorithm, group: Group, input: BalancerInput): EndpointState | undefined {
  if (group.members.length < 2) return group.members[0];
  switch (algorithm) {
    case Algorithm.RANDOM:
    case Algorithm.CONSISTENT_HASH:
      return group.draw(input);
    case Algorithm.ROUND_ROBIN:
      return smoothWeighted(group.members, input);
    case Algorithm.EWMA:
      return betterOfTwo(group, input, (s) => s.latency.cost(s.inFlight, input.now) / weightOf(s, input));
    case Algorithm.LEAST_REQUEST:
    default:
      return betterOfTwo(group, input, (s) => s.inFlight / weightOf(s, input));
  }
}

/**
 * The power of two choices: two draws by weight, and the cheaper one; the first where they are equal, so that idle endpoints
 * share by weight. One comparison avoids the herd that always taking the cheapest makes.
 */
function betterOfTwo(
  group: Group,
  input: BalancerInput,
  cost: (state: EndpointState) => number,
): EndpointState | undefined {
  const one = group.draw(input);
  if (one === undefined) return undefined;
  for (let i = 0; i < DRAWS; i++) {
    const other = group.draw(input);
    if (other !== undefined && other !== one) return cost(other) < cost(one) ? other : one;
  }
  return one;
}

/** Smooth weighted round robin, as nginx: each gains its weight, the one that has most goes and pays the sum. */
function smoothWeighted(members: readonly EndpointState[], input: BalancerInput): EndpointState | undefined {
  let total = 0;
  let best: EndpointState | undefined;
  for (const member of members) {
    const weight = weightOf(member, input);
    total += weight;
    member.turn += weight;
    if (best === undefined || member.turn > best.turn) best = member;
  }
  if (best !== undefined) best.turn -= total;
  return best;
}

function weightOf(state: EndpointState, input: BalancerInput): number {
  return state.endpoint.weight * slowStartFactor(state, input);
}
