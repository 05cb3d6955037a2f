import type { Backend } from '../../../../../proto/gen/loam/waypoint/v1/waypoint_pb.js';
import type { Phase } from './phase.ts';

/** Where a request of a rule goes. */
export type Choice =
  | { readonly kind: 'backend'; readonly backend: Backend; readonly index: number }
  /** The share of a backend that cannot be used: 500 (Gateway API, HTTPBackendRef). */
  | { readonly kind: 'invalid'; readonly backend: Backend; readonly reason: string }
  /** The rule has no backend with a weight: 500 (Gateway API, HTTPRouteRule.backendRefs). */
  | { readonly kind: 'none' };

const NONE: Choice = { kind: 'none' };

/** Chooses among the backends of one rule by their weights. */
export class WeightedChoice {
  /** The rule's place in its sequence; a newer version of the rule goes on with it. */
  readonly phase: Phase;
  readonly #choices: readonly Choice[];
  /** Where each choice's share ends; the last one is the sum of all weights. */
  readonly #ends: readonly number[];

  constructor(backends: readonly Backend[], phase: Phase) {
    this.phase = phase;
    const choices: Choice[] = [];
    const ends: number[] = [];
    let sum = 0;
    for (const [index, backend] of backends.entries()) {
      if (backend.weight === 0) continue;
      sum += backend.weight;
      choices.push(
        backend.invalid === ''
          ? { kind: 'backend', backend, index }
          : { kind: 'invalid', backend, reason: backend.invalid },
      );
      ends.push(sum);
    }
    this.#choices = choices;
    this.#ends = ends;
  }

  /**
   * @param preferred key of the Service that a persistent session belongs to: taken if the rule still sends to it, that
   * is, it has a weight and can be used. The request takes no place in the sequence then, so that new sessions still
   * divide as configured.
   */
  choose(preferred?: string): Choice {
    if (preferred !== undefined) {
      const kept = this.#choices.find((c) => c.kind === 'backend' && c.backend.service === preferred);
      if (kept !== undefined) return kept;
    }
    const [only] = this.#choices;
    if (only === undefined) return NONE;
    if (this.#choices.length === 1) return only;
    const at = this.phase.next() * (this.#ends.at(-1) ?? 0);
    const index = this.#ends.findIndex((end) => at < end);
    return this.#choices[index] ?? only;
  }
}
