/** A failure that comes fast must not look like speed: it counts as a response of at least this long. */
const FAILURE_MS = 1_000;

/** Time in which an old observation loses all but 1/e of its weight. */
const DECAY_MS = 10_000;

/** Cost of an endpoint that has answered nothing yet but has requests in flight: it may be hanging. */
const UNKNOWN_MS = 1_000;

/**
 * Latency of an endpoint, quick to believe a peak and slow to forget it (peak EWMA, as in Finagle): a slower response counts
 * at once in full, a faster one by the time that passed. Idle, it decays, so that an endpoint once slow is tried again; not
 * with requests in flight, since one that hangs gives no responses either.
 */
export class PeakEwma {
  #valueMs = 0;
  #at = -Infinity;

  /** Takes in a response (or failure) after `latencyMs`, at `now`. */
  observe(latencyMs: number, failed: boolean, now: number): void {
    const seen = Math.max(0, failed ? Math.max(latencyMs, FAILURE_MS) : latencyMs);
    const keep = this.#keep(now);
    this.#valueMs = seen > this.#valueMs ? seen : this.#valueMs * keep + seen * (1 - keep);
    this.#at = now;
  }

  /** What one more request is expected to cost, in milliseconds times requests: lower is better. */
  cost(inFlight: number, now: number): number {
    if (this.#at === -Infinity) return inFlight === 0 ? 0 : UNKNOWN_MS * inFlight;
    return this.#valueMs * (inFlight === 0 ? this.#keep(now) : inFlight + 1);
  }

  #keep(now: number): number {
    return this.#at === -Infinity ? 0 : Math.exp(-Math.max(0, now - this.#at) / DECAY_MS);
  }
}
