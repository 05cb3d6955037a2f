/**
 * A map whose entries come in the order of their keys, for tens of thousands of them of which one changes at a time: they are sorted
 * when somebody goes through them, not when one is put in.
 */
export class SortedMap<V> implements ReadonlyMap<string, V> {
  #map: Map<string, V>;
  #isSorted = false;
  /** By prefix: what was asked for since any of it was put in or taken out. */
  readonly #parts = new Map<string, ReadonlyMap<string, V>>();

  constructor(entries: Iterable<readonly [string, V]> = []) {
    this.#map = new Map(entries);
  }

  get size(): number {
    return this.#map.size;
  }

  get(key: string): V | undefined {
    return this.#map.get(key);
  }

  has(key: string): boolean {
    return this.#map.has(key);
  }

  set(key: string, value: V): void {
    if (!this.#map.has(key)) this.#isSorted = false;
    this.#map.set(key, value);
    this.#forget(key);
  }

  delete(key: string): void {
    if (this.#map.delete(key)) this.#forget(key);
  }

  /**
   * The entries whose keys begin with a text and "/". Nobody is to change them; it is another map when any of them has changed.
   *
   * @param prefix without "/" in it
   */
  under(prefix: string): ReadonlyMap<string, V> {
    let part = this.#parts.get(prefix);
    if (part === undefined) {
      part = new Map([...this.#sorted()].filter(([key]) => prefixOf(key) === prefix));
      this.#parts.set(prefix, part);
    }
    return part;
  }

  entries(): MapIterator<[string, V]> {
    return this.#sorted().entries();
  }

  keys(): MapIterator<string> {
    return this.#sorted().keys();
  }

  values(): MapIterator<V> {
    return this.#sorted().values();
  }

  [Symbol.iterator](): MapIterator<[string, V]> {
    return this.entries();
  }

  forEach(callback: (value: V, key: string, map: ReadonlyMap<string, V>) => void): void {
    for (const [key, value] of this) callback(value, key, this);
  }

  #sorted(): Map<string, V> {
    if (!this.#isSorted) this.#map = new Map([...this.#map].sort(([a], [b]) => (a < b ? -1 : 1)));
    this.#isSorted = true;
    return this.#map;
  }

  #forget(key: string): void {
    if (this.#parts.size > 0) this.#parts.delete(prefixOf(key));
  }
}

function prefixOf(key: string): string {
  return key.slice(0, Math.max(0, key.indexOf('/')));
}
