const MIB = 1024 * 1024;
/** Three first requests of the largest size, and some more. */
const BURST_BYTES = 32 * MIB;
const BYTES_PER_S = MIB;
/** A small request is not for nothing either. */
const LEAST_BYTES = 1_024;

interface Bucket {
  /** Below zero: overdrawn. */
  bytes: number;
  atMs: number;
}

/**
 * What the requests of each client may cost the controller, over all its streams, in bytes to be read: reading eight megabytes of
 * small fields takes a second, and one node's token must not stop the others' policies from coming.
 */
export class Allowances {
  readonly #buckets = new Map<string, Bucket>();
  readonly #now: () => number;

  /** @param now in milliseconds that only go forward */
  constructor(now: () => number = () => performance.now()) {
    this.#now = now;
  }

  /** @returns how long to read nothing more of this client, in milliseconds; 0: go on */
  take(who: string, bytes: number): number {
    const bucket = this.#bucket(who);
    bucket.bytes -= Math.max(LEAST_BYTES, bytes);
    return bucket.bytes >= 0 ? 0 : (-bucket.bytes * 1_000) / BYTES_PER_S;
  }

  /** Whether a client has asked for more than it may. */
  isOverdrawn(who: string): boolean {
    return this.#bucket(who).bytes < 0;
  }

  #bucket(who: string): Bucket {
    const now = this.#now();
    // Clients are those that have a token: as many as there are nodes and Gateways.
    const bucket = this.#buckets.get(who) ?? { bytes: BURST_BYTES, atMs: now };
    bucket.bytes = Math.min(BURST_BYTES, bucket.bytes + ((now - bucket.atMs) * BYTES_PER_S) / 1_000);
    bucket.atMs = now;
    this.#buckets.set(who, bucket);
    return bucket;
  }
}
