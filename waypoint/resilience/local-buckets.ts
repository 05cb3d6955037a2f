import { TokenBucket } from './token-bucket.ts';

/** How many of the longest unused buckets are looked at for one that can be forgotten. */
const LOOKED_AT = 8;

/** How fast a rule's buckets fill. */
export interface BucketRate {
  readonly requests: number;
  /** Milliseconds. */
  readonly per: number;
  readonly burst: number;
}

/** The buckets of one rule, one for each key. */
export interface RuleBuckets {
  /** Takes a token; 0 when there was one, else the milliseconds until there is. */
  take(key: string, now: number): number;
  /** Puts back what was just taken: another rule refused the request. */
  giveBack(key: string, now: number): void;
}

/** Buckets of this thread alone. */
export class LocalBuckets implements RuleBuckets {
  readonly #rate: BucketRate;
  readonly #mostKeys: number;
  /** Longest unused first. */
  readonly #byKey = new Map<string, TokenBucket>();
  /** Shared by all keys for which there is no room: strict, for whoever invents keys must gain nothing by it. */
  #overflow: TokenBucket | undefined;

  constructor(rate: BucketRate, mostKeys: number) {
    this.#rate = rate;
    this.#mostKeys = mostKeys;
  }

  take(key: string, now: number): number {
    const bucket = this.#bucketOf(key, now);
    const waitMs = bucket.waitMs(now);
    if (waitMs === 0) bucket.take(now);
    return waitMs;
  }

  giveBack(key: string, now: number): void {
    (this.#byKey.get(key) ?? this.#overflow)?.giveBack(now);
  }

  #bucketOf(key: string, now: number): TokenBucket {
    let bucket = this.#byKey.get(key);
    if (bucket === undefined) {
      if (this.#byKey.size >= this.#mostKeys && !this.#forgetOne(now)) {
        return (this.#overflow ??= this.#newBucket(now));
      }
      bucket = this.#newBucket(now);
    } else {
      this.#byKey.delete(key);
    }
    this.#byKey.set(key, bucket);
    return bucket;
  }

  /** Only a full bucket may go: to forget another would give its client a new burst. */
  #forgetOne(now: number): boolean {
    let looked = 0;
    for (const [key, bucket] of this.#byKey) {
      if (bucket.full(now)) return this.#byKey.delete(key);
      if (++looked === LOOKED_AT) return false;
    }
    return false;
  }

  #newBucket(now: number): TokenBucket {
    return new TokenBucket(this.#rate.requests, this.#rate.per, this.#rate.burst, now);
  }
}
