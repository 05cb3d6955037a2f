import { createHash } from 'node:crypto';
import type { Metadata } from '@grpc/grpc-js';
import type { Logger } from 'pino';
import { Backoff } from '../../../lib/backoff.ts';
import { hasStatus, KubeApiError } from '../../../lib/kubernetes/errors.ts';
import { errorText } from '../../../lib/loam-error.ts';
import { type Authenticator, AuthenticationUnavailable, bearerToken } from '../../auth/authenticator.ts';
import type { Principal } from '../../auth/principal.ts';
import type { SourceGate } from '../../sources/source.ts';
import { LogBound } from '../../telemetry/log-bound.ts';
import type { ControllerMetrics } from '../../telemetry/metrics.ts';
import { type Foreign, principalOf, type PrincipalsOptions } from './principals.ts';
import { ReviewQueue } from './review-queue.ts';
import { TokenCache } from './token-cache.ts';
import { claimsOf, type TokenClaims } from './token-claims.ts';
import { reviewToken } from './token-review.ts';
import type { KubeClient } from '../../../lib/kubernetes/client.ts';

export interface TokenAuthenticatorOptions extends PrincipalsOptions {
  readonly client: Pick<KubeClient, 'create' | 'get'>;
  readonly audience: string;
  readonly metrics: ControllerMetrics;
  readonly log: Logger;
  /** Milliseconds since the epoch. */
  readonly now?: () => number;
}

type Verdict =
  | { readonly state: 'proved'; readonly principal: Principal }
  | { readonly state: 'refused'; readonly reason: Reason; readonly detail: string };
type Reason = 'no-token' | 'malformed' | 'expired' | 'wrong-audience' | 'not-authenticated' | Foreign;

/** Service accounts' tokens are about 1 KiB; the API server itself takes no more than 8 of a header. */
const MAX_TOKEN_CHARS = 8 * 1024;
/** How often open streams are looked at again; those whose token was reviewed lately cost nothing. */
const RECHECK_MS = 60_000;
const PROBE_RETRY = { initialMs: 500, maxMs: 15_000 };

/**
 * Whom the token of a pod's service account proves, as the API server reviews it (decision 0122). What was proved lately counts
 * without asking. While the API server is away, what was proved before counts on for a bounded time, and what is new is told to
 * come again.
 */
export class TokenAuthenticator implements Authenticator {
  readonly #options: TokenAuthenticatorOptions;
  readonly #now: () => number;
  readonly #cache = new TokenCache();
  readonly #queue = new ReviewQueue<Verdict>();
  readonly #listeners = new Set<() => void>();
  readonly #stop = new AbortController();
  #recheck: NodeJS.Timeout | undefined;
  #probe: NodeJS.Timeout | undefined;
  #gate: SourceGate = { name: 'tokens', ready: false, reason: 'the API server has not been asked yet' };
  readonly #logged = new LogBound();

  constructor(options: TokenAuthenticatorOptions) {
    this.#options = options;
    this.#now = options.now ?? Date.now;
  }

  gate(): SourceGate {
    return this.#gate;
  }

  onChange(listener: () => void, signal: AbortSignal): void {
    this.#listeners.add(listener);
    signal.addEventListener('abort', () => this.#listeners.delete(listener), { once: true });
  }

  start(): Promise<void> {
    this.#recheck = setInterval(() => {
      for (const listener of this.#listeners) listener();
    }, RECHECK_MS);
    void this.#tryOut(new Backoff(PROBE_RETRY));
    return Promise.resolve();
  }

  close(): void {
    this.#stop.abort();
    clearInterval(this.#recheck);
    clearTimeout(this.#probe);
  }

  async authenticate(metadata: Metadata, peer: string): Promise<Principal | undefined> {
    const { metrics } = this.#options;
    try {
      const verdict = await this.#judge(bearerToken(metadata, MAX_TOKEN_CHARS), hostOf(peer));
      if (verdict.state === 'refused') {
        metrics.authentications.inc({ result: verdict.reason });
        this.#logRefusal(verdict, peer);
        return undefined;
      }
      metrics.authentications.inc({ result: verdict.principal.kind });
      return verdict.principal;
    } catch (error) {
      metrics.authentications.inc({ result: 'unavailable' });
      throw error;
    }
  }

  async #judge(token: string | undefined, host: string): Promise<Verdict> {
    if (token === undefined) return refused('no-token', 'no bearer token');
    const key = createHash('sha256').update(token).digest('base64');
    const remembered = this.#cache.look(key, this.#now());
    if (remembered.state === 'fresh') return { state: 'proved', principal: remembered.principal };
    if (remembered.state === 'refused') return refused(remembered.reason as Reason, 'refused a moment ago');
    const claims = claimsOf(token);
    const isKnown = remembered.state !== 'unknown';
    const obvious = isKnown ? undefined : this.#obviousFault(claims);
    if (claims === undefined || obvious !== undefined) return obvious ?? refused('malformed', 'no JWT');
    try {
      return await this.#queue.run(key, isKnown ? undefined : host, () => this.#review(key, token, claims));
    } catch (error) {
      const kept = this.#cache.look(key, this.#now());
      // Static stability: whoever was known stays known while nobody can be asked.
      if (kept.state === 'kept' || kept.state === 'fresh')
        return { state: 'proved', principal: kept.principal };
      throw unavailable(error);
    }
  }

  /** What needs no API server to tell, so that nobody can keep it busy with nonsense. */
  #obviousFault(claims: TokenClaims | undefined): Verdict | undefined {
    if (claims === undefined) return refused('malformed', "no service account's token");
    const { audience } = this.#options;
    if (!claims.audiences.includes(audience)) return refused('wrong-audience', `not for ${audience}`);
    if (claims.expiresMs <= this.#now()) return refused('expired', 'its time is over');
    if (!claims.subject.startsWith('system:serviceaccount:')) return refused('foreign-account', 'no account');
    return undefined;
  }

  async #review(key: string, token: string, claims: TokenClaims): Promise<Verdict> {
    const { client, audience, metrics } = this.#options;
    const review = await reviewToken(client, token, audience).catch((error: unknown) => {
      metrics.tokenReviews.inc({ result: 'error' });
      throw error;
    });
    metrics.tokenReviews.inc({ result: review.authenticated ? 'authenticated' : 'refused' });
    const nowMs = this.#now();
    if (!review.authenticated) {
      const reason = claims.expiresMs <= nowMs ? 'expired' : 'not-authenticated';
      this.#cache.refuse(key, reason, nowMs);
      return refused(reason, review.error);
    }
    const { account } = review;
    const principal = await principalOf(account, this.#options);
    if (typeof principal === 'string') {
      this.#cache.refuse(key, principal, nowMs);
      return refused(principal, account.username);
    }
    this.#cache.prove(key, principal, claims.expiresMs, nowMs);
    return { state: 'proved', principal };
  }

  /** Reviews what is no token: whether the API server answers, and lets us ask. */
  async #tryOut(backoff: Backoff): Promise<void> {
    const { client, audience, log } = this.#options;
    try {
      await reviewToken(client, 'not-a-token', audience);
      this.#gate = { name: 'tokens', ready: true, reason: '' };
    } catch (error) {
      if (this.#stop.signal.aborted) return;
      const reason = unavailable(error).message;
      if (reason !== this.#gate.reason) log.error({ reason }, 'tokens cannot be reviewed');
      this.#gate = { name: 'tokens', ready: false, reason };
      this.#probe = setTimeout(() => void this.#tryOut(backoff), backoff.next());
    }
  }

  #logRefusal({ reason, detail }: Extract<Verdict, { state: 'refused' }>, peer: string): void {
    const admitted = this.#logged.admit();
    if (admitted === undefined) return;
    this.#options.log.warn({ peer, reason, detail, ...admitted }, 'a token proves nobody');
  }
}

function refused(reason: Reason, detail: string): Extract<Verdict, { state: 'refused' }> {
  return { state: 'refused', reason, detail };
}

function unavailable(error: unknown): AuthenticationUnavailable {
  if (error instanceof AuthenticationUnavailable) return error;
  if (!(error instanceof KubeApiError)) throw error;
  const why =
    hasStatus(error, 403) || hasStatus(error, 401)
      ? 'the API server does not let the controller review tokens'
      : 'the API server cannot be asked whose a token is';
  return new AuthenticationUnavailable(`${why}: ${errorText(error)}`);
}

/** `ipv4:10.0.0.1:4711`, `10.0.0.1:4711` and `[::1]:4711` without the port. */
function hostOf(peer: string): string {
  return peer.replace(/:\d+$/, '');
}
