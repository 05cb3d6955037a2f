import type { Mutator } from './mutate.ts';

/** One parser that faces a peer, and what must hold for whatever it is given. */
export interface FuzzTarget {
  /** Kebab-case; its files in corpus/ and regressions/ have this name. */
  readonly name: string;
  /** Inputs to begin with: well-formed ones, and such as people have broken before. */
  readonly seeds: readonly (string | Uint8Array)[];
  /** Words of the language, beside those that the parser's sources hold. */
  readonly words?: readonly string[];
  /** How inputs are changed; bytes where nothing is said. */
  readonly mutate?: Mutator;
  /** Longest input. */
  readonly maxLength?: number;
  /**
   * Takes one input of at most so many bytes. Must depend on nothing else.
   *
   * @throws whatever shows that something does not hold: a finding
   */
  readonly run: (input: Buffer) => void | Promise<void>;
}

export const DEFAULT_MAX_LENGTH = 4_096;
