import { createHash } from 'node:crypto';
import {
  RateLimitRule_Key as Key,
  type RateLimit,
  type RateLimitRule,
} from '../../proto/gen/loam/waypoint/v1/waypoint_pb.js';
import { spiffeUri } from '../../lib/spiffe.ts';
import { header, type RequestHead } from '../http/request.ts';
import { formatRetryAfter } from './retry-after.ts';
import { MONOTONIC_NOW, type Now } from './time.ts';
import { TokenBucket } from './token-bucket.ts';

/** Buckets of one rule. */
const MOST_KEYS = 10_000;

/** How many of the longest unused buckets are looked at for one that can be forgotten. */
const LOOKED_AT = 8;

/** A longer header is kept as its digest: memory is bounded by the number of keys alone. */
const LONGEST_KEY = 64;

export type RateDecision =
  | { readonly admit: true }
  | {
      readonly admit: false;
      readonly status: number;
      readonly retryAfterMs: number;
      /** Value of the Retry-After header. */
      readonly retryAfter: string;
      /** Which rule refused, from 0. */
      readonly rule: number;
    };

/** What of a request its buckets are found by. */
export type LimitedRequest = Pick<RequestHead, 'headers' | 'source'>;

const ADMIT: RateDecision = { admit: true };

/** Local rate limit: token buckets in this process, by what the rules say. */
export class LocalRateLimit {
  readonly #now: Now;
  readonly #mostKeys: number;
  #rules: readonly Buckets[] = [];

  constructor(config: RateLimit | undefined, now: Now = MONOTONIC_NOW, mostKeys: number = MOST_KEYS) {
    this.#now = now;
    this.#mostKeys = mostKeys;
    this.configure(config);
  }

  /** A rule that stays as it was keeps its buckets: an edit elsewhere must not hand out new bursts. */
  configure(config: RateLimit | undefined): void {
    const left = [...this.#rules];
    this.#rules = (config?.rules ?? []).map((rule) => {
      const same = left.findIndex((buckets) => buckets.serves(rule));
      return left.splice(same, same < 0 ? 0 : 1)[0] ?? new Buckets(rule, this.#mostKeys);
    });
  }

  /** Admits a request if all rules do; a refused one takes a token of none. */
  check(request: LimitedRequest): RateDecision {
    const now = this.#now();
    const buckets: TokenBucket[] = [];
    for (const [index, rule] of this.#rules.entries()) {
      const bucket = rule.bucketOf(request, now);
      const waitMs = bucket.waitMs(now);
      if (waitMs > 0) {
        const retryAfter = formatRetryAfter(waitMs);
        return { admit: false, status: rule.status, retryAfterMs: waitMs, retryAfter, rule: index };
      }
      buckets.push(bucket);
    }
    for (const bucket of buckets) bucket.take(now);
    return ADMIT;
  }
}

class Buckets {
  readonly #rule: RateLimitRule;
  readonly #mostKeys: number;
  /** Longest unused first. */
  readonly #byKey = new Map<string, TokenBucket>();
  /** Shared by all keys for which there is no room: strict, for whoever invents keys must gain nothing by it. */
  #overflow: TokenBucket | undefined;

  constructor(rule: RateLimitRule, mostKeys: number) {
    this.#rule = rule;
    this.#mostKeys = mostKeys;
  }

  get status(): number {
    return this.#rule.status === 0 ? 429 : this.#rule.status;
  }

  serves(rule: RateLimitRule): boolean {
    const own = this.#rule;
    return (
      own.requests === rule.requests &&
      own.per === rule.per &&
      own.burst === rule.burst &&
      own.key === rule.key &&
      own.header === rule.header &&
      own.status === rule.status
    );
  }

  bucketOf(request: LimitedRequest, now: number): TokenBucket {
    const key = keyOf(this.#rule, request);
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
    const { requests, per, burst } = this.#rule;
    return new TokenBucket(requests, Math.max(1, per), Math.max(1, burst), now);
  }
}

/** Requests that lack what they are told apart by share one bucket. */
function keyOf(rule: RateLimitRule, { headers, source }: LimitedRequest): string {
  switch (rule.key) {
    case Key.SOURCE_IDENTITY:
      return source.identity === undefined ? '' : spiffeUri(source.identity);
    case Key.SOURCE_IP:
      return source.ip;
    case Key.HEADER: {
      const value = header(headers, rule.header.toLowerCase()) ?? '';
      if (value.length <= LONGEST_KEY) return value;
      // The prefix keeps a digest apart from a header that spells one.
      return `sha256 of a long value: ${createHash('sha256').update(value).digest('base64')}`;
    }
    case Key.ALL:
    default:
      return '';
  }
}
