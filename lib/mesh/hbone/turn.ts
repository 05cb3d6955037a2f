/** Counts the turns of the event loop, as far as somebody asks. */
export class Turn {
  #number = 0;
  #startMs: number | undefined;

  /** Equal for two calls only if nothing else had its turn between them. */
  get number(): number {
    this.#begin();
    return this.#number;
  }

  /** When this turn was first asked for, in milliseconds that only go forward: the same for all of the turn. */
  get startMs(): number {
    return this.#begin();
  }

  #begin(): number {
    if (this.#startMs === undefined) {
      this.#startMs = performance.now();
      setImmediate(() => {
        this.#startMs = undefined;
        this.#number += 1;
      });
    }
    return this.#startMs;
  }
}
