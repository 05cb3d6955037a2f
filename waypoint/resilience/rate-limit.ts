import { createHash } from 'node:crypto';
import {
  RateLimitRule_Key as Key,
  type RateLimit,
  type RateLimitRule,
} from '../../proto/gen/loam/waypoint/v1/waypoint_pb.js';
import { spiffeUri } from '../../lib/spiffe.ts';
import { header, type RequestHead } from '../../lib/mesh/waypoint/request.ts';
import { formatRetryAfter } from './retry-after.ts';
import { MONOTONIC_NOW, type Now } from './time.ts';
import { LocalBuckets, type RuleBuckets } from './local-buckets.ts';
import { SHARED_NOW, type SharedBuckets } from './shared-buckets.ts';

/** Buckets of one rule. */
const MOST_KEYS = 10_000;

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

export interface RateLimitOptions {
  /** Buckets that all threads share; absent: this thread has its own. */
  readonly shared?: {
    readonly buckets: SharedBuckets;
    /** Names policy and Service: limits of one name share their buckets. */
    readonly name: string;
  };
  /** By default the clock that fits the buckets. */
  readonly now?: Now;
  /** Buckets of one rule, where they are not shared. */
  readonly mostKeys?: number;
}

interface Rule {
  readonly rule: RateLimitRule;
  /** Says all that the rule says: rules of one scope are the same rule. */
  readonly scope: string;
  readonly buckets: RuleBuckets;
}

/** Local rate limit: token buckets in this process, by what the rules say. */
export class LocalRateLimit {
  readonly #options: RateLimitOptions;
  readonly #now: Now;
  #rules: readonly Rule[] = [];

  constructor(config: RateLimit | undefined, options: RateLimitOptions = {}) {
    this.#options = options;
    this.#now = options.now ?? (options.shared === undefined ? MONOTONIC_NOW : SHARED_NOW);
    this.configure(config);
  }

  /** A rule that stays as it was keeps its buckets: an edit elsewhere must not hand out new bursts. */
  configure(config: RateLimit | undefined): void {
    const before = new Map(this.#rules.map((rule) => [rule.scope, rule]));
    const seen = new Map<string, number>();
    this.#rules = (config?.rules ?? []).map((rule) => {
      const { requests, per, burst, key, header: name, status } = rule;
      const text = JSON.stringify([requests, per, burst, key, name, status]);
      const nth = seen.get(text) ?? 0;
      seen.set(text, nth + 1);
      const scope = `${text}${nth}`;
      return before.get(scope) ?? { rule, scope, buckets: this.#bucketsOf(rule, scope) };
    });
  }

  /** Admits a request if all rules do; a refused one takes a token of none. */
  check(request: LimitedRequest): RateDecision {
    const now = this.#now();
    const taken: (() => void)[] = [];
    for (const [index, { rule, buckets }] of this.#rules.entries()) {
      const key = keyOf(rule, request);
      const waitMs = buckets.take(key, now);
      if (waitMs > 0) {
        for (const giveBack of taken) giveBack();
        return {
          admit: false,
          status: rule.status === 0 ? 429 : rule.status,
          retryAfterMs: waitMs,
          retryAfter: formatRetryAfter(waitMs),
          rule: index,
        };
      }
      taken.push(() => buckets.giveBack(key, now));
    }
    return ADMIT;
  }

  #bucketsOf({ requests, per, burst }: RateLimitRule, scope: string): RuleBuckets {
    const { shared, mostKeys = MOST_KEYS } = this.#options;
    const rate = { requests, per: Math.max(1, per), burst: Math.max(1, burst) };
    if (shared === undefined) return new LocalBuckets(rate, mostKeys);
    return shared.buckets.ofRule(`${shared.name}\0${scope}`, rate);
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
