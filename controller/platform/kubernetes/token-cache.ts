import type { Principal } from '../../auth/principal.ts';

/** For so long a token that proved somebody is not reviewed again. */
const FRESH_MS = 5 * 60_000;
/** A token is reviewed again when it has so long to live. */
const BEFORE_END_MS = 10_000;
/** For so long after its review a token counts on while the API server does not answer, and never beyond its end. */
const KEPT_MS = 60 * 60_000;
/** For so long a token that proved nobody is not reviewed again. */
const REFUSED_MS = 5_000;
const MAX_PROVED = 20_000;
const MAX_REFUSED = 5_000;

interface Proved {
  readonly principal: Principal;
  readonly freshUntilMs: number;
  readonly keptUntilMs: number;
}

interface Refused {
  readonly reason: string;
  readonly untilMs: number;
}

/** What is remembered of a token. */
export type Remembered =
  /** `fresh`: it need not be reviewed; `kept`: it counts where it cannot be; `ended`: it proved somebody once. */
  | { readonly state: 'fresh' | 'kept' | 'ended'; readonly principal: Principal }
  | { readonly state: 'refused'; readonly reason: string }
  | { readonly state: 'unknown' };

/**
 * What reviews of tokens have said, by the tokens' digests; bounded. What proved somebody and what proved nobody have places
 * of their own, so that made-up tokens push out no real ones. Times are in milliseconds since the epoch, as tokens' ends are.
 */
export class TokenCache {
  readonly #proved = new Map<string, Proved>();
  readonly #refused = new Map<string, Refused>();

  get size(): number {
    return this.#proved.size + this.#refused.size;
  }

  look(key: string, nowMs: number): Remembered {
    const proved = this.#proved.get(key);
    if (proved !== undefined) {
      const { principal, freshUntilMs, keptUntilMs } = proved;
      const state = nowMs < freshUntilMs ? 'fresh' : nowMs < keptUntilMs ? 'kept' : 'ended';
      return { state, principal };
    }
    const refused = this.#refused.get(key);
    if (refused === undefined || nowMs >= refused.untilMs) return { state: 'unknown' };
    return { state: 'refused', reason: refused.reason };
  }

  /** @param expiresMs when the token ends */
  prove(key: string, principal: Principal, expiresMs: number, nowMs: number): void {
    this.#refused.delete(key);
    // Those looked at longest ago come first, and go first.
    this.#proved.delete(key);
    this.#proved.set(key, {
      principal,
      freshUntilMs: Math.min(nowMs + FRESH_MS, expiresMs - BEFORE_END_MS),
      keptUntilMs: Math.min(nowMs + KEPT_MS, expiresMs),
    });
    for (const [old, { keptUntilMs }] of this.#proved) {
      // Ended ones stay for a while: while the API server is away, their streams must not end for it.
      if (this.#proved.size <= MAX_PROVED && nowMs < keptUntilMs + KEPT_MS) break;
      this.#proved.delete(old);
    }
  }

  refuse(key: string, reason: string, nowMs: number): void {
    this.#proved.delete(key);
    this.#refused.delete(key);
    this.#refused.set(key, { reason, untilMs: nowMs + REFUSED_MS });
    for (const [old, { untilMs }] of this.#refused) {
      if (this.#refused.size <= MAX_REFUSED && nowMs < untilMs) break;
      this.#refused.delete(old);
    }
  }
}
