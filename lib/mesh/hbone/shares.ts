/** A holder may have so many times what is left for all others: alone at most four fifths, two of them four ninths each. */
const TIMES_FREE = 4;

/**
 * Divides places that are few among holders of whom nobody knows how many will come: one more is given only while its holder
 * has fewer than four times what is free (Choudhury and Hahne's dynamic thresholds, 1998, made for the buffers of
 * switches). So whoever takes all that it can get always leaves room for others, and nothing lies idle by reservation.
 */
export class Shares {
  readonly #held = new Map<string, number>();

  /** @param free places that nobody has, this one included. @returns whether the holder may have it */
  take(holder: string, free: number): boolean {
    const own = this.of(holder);
    if (own >= TIMES_FREE * free) return false;
    this.#held.set(holder, own + 1);
    return true;
  }

  /** Gives one back. */
  release(holder: string): void {
    const rest = this.of(holder) - 1;
    if (rest > 0) this.#held.set(holder, rest);
    else this.#held.delete(holder);
  }

  /** How many a holder has. */
  of(holder: string): number {
    return this.#held.get(holder) ?? 0;
  }
}
