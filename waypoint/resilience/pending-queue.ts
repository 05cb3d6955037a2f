/**
 * - ready: try to get a connection now, or hand the turn on with {@link PendingQueue.wake}
 * - refused: too many wait already (503, UO)
 * - aborted: the signal fired, whatever its reason
 */
export type PendingResult = 'ready' | 'refused' | 'aborted';

interface Waiter {
  readonly settle: (result: PendingResult) => void;
}

/** Requests that wait for a connection, first come first served, so many at most. */
export class PendingQueue {
  /** A Set keeps the order of insertion and deletes in constant time. */
  readonly #waiters = new Set<Waiter>();
  #max = 0;
  #refused = 0;

  /** @param max 0: no bound; those who wait already stay */
  configure(max: number): void {
    this.#max = max;
  }

  get size(): number {
    return this.#waiters.size;
  }

  /** How many were refused so far. */
  get refused(): number {
    return this.#refused;
  }

  /**
   * Waits for its turn. Whoever comes while others wait should wait too, or it would overtake them.
   *
   * @param signal ends the wait: deadline, client gone
   */
  wait(signal?: AbortSignal): Promise<PendingResult> {
    if (signal?.aborted === true) return Promise.resolve('aborted');
    if (this.#max > 0 && this.#waiters.size >= this.#max) {
      this.#refused++;
      return Promise.resolve('refused');
    }
    return new Promise((resolve) => {
      const onAbort = () => waiter.settle('aborted');
      const waiter: Waiter = {
        settle: (result) => {
          if (!this.#waiters.delete(waiter)) return;
          signal?.removeEventListener('abort', onAbort);
          resolve(result);
        },
      };
      this.#waiters.add(waiter);
      signal?.addEventListener('abort', onAbort, { once: true });
    });
  }

  /** Room for `count` more: lets so many of those who wait longest go. Returns how many went. */
  wake(count = 1): number {
    let woken = 0;
    for (const waiter of this.#waiters) {
      if (woken >= count) break;
      waiter.settle('ready');
      woken++;
    }
    return woken;
  }

  /** Turns everybody away: the backend is gone. */
  close(): void {
    for (const waiter of this.#waiters) waiter.settle('refused');
  }
}
