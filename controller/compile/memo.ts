import type { CompiledResource } from './resources.ts';

interface Known<W> {
  readonly from: W;
  readonly resource: CompiledResource;
}

/**
 * Resources as they were encoded, with all that went into each, so that what is unchanged is not encoded again. What a whole
 * compilation does not ask for is forgotten at the next one.
 */
export class Memo<W> {
  readonly #same: (a: W, b: W) => boolean;
  #former = new Map<string, Known<W>>();
  #known = new Map<string, Known<W>>();

  /** @param same whether two inputs lead to the same resource */
  constructor(same: (a: W, b: W) => boolean) {
    this.#same = same;
  }

  /** To be called before everything is compiled. */
  begin(): void {
    this.#former = this.#known;
    this.#known = new Map();
  }

  /** What was encoded from the same under this key, else what is encoded now. */
  get(key: string, from: W, encode: () => CompiledResource): CompiledResource {
    const former = this.#known.get(key) ?? this.#former.get(key);
    const known =
      former !== undefined && this.#same(former.from, from) ? former : { from, resource: encode() };
    this.#known.set(key, known);
    return known.resource;
  }

  forget(key: string): void {
    this.#known.delete(key);
    this.#former.delete(key);
  }
}

/** Whether two lists have the same items, by identity. */
export function sameItems<T>(a: readonly T[], b: readonly T[]): boolean {
  return a === b || (a.length === b.length && a.every((each, i) => each === b[i]));
}
