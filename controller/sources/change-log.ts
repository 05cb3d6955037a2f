/** More changes that nobody asked for are not told one by one. */
const MAX_KEYS = 20_000;

/** Where in a {@link ChangeLog} somebody is. */
export type Position = number;

/** Which pods have changed since somebody looked last: in a large cluster, going through all of them takes longer than the change. */
export class ChangeLog {
  #keys: string[] = [];
  /** The position of the first of `#keys`. */
  #first: Position = 0;

  get position(): Position {
    return this.#first + this.#keys.length;
  }

  /** Pods came, changed, moved or went. @param keys by objectKey */
  pods(keys: Iterable<string>): void {
    for (const key of keys) this.#keys.push(key);
    if (this.#keys.length > MAX_KEYS) this.anything();
  }

  /** Anything may have changed. */
  anything(): void {
    this.#first = this.position + 1;
    this.#keys = [];
  }

  /** The pods that may have changed since; undefined where anything else may have. */
  since(position: Position): ReadonlySet<string> | undefined {
    if (position < this.#first) return undefined;
    return new Set(this.#keys.slice(position - this.#first));
  }

  /** Nobody is going to ask for what was before. */
  forget(position: Position): void {
    if (position <= this.#first) return;
    this.#keys = this.#keys.slice(position - this.#first);
    this.#first = position;
  }
}
