import type { JWTPayload } from 'jose';
import type { RequestAuthentication } from '../../proto/gen/loam/waypoint/v1/waypoint_pb.js';
import type { JwtFacts, RequestHead } from '../../lib/mesh/waypoint/request.ts';
import type { JwksCache } from './jwks-cache.ts';
import {
  type OutputHeaders,
  outputHeadersOf,
  outputNames,
  removeOutputs,
  writeOutputs,
} from './output-headers.ts';
import { locationKey, locationsOf, removeTokens, type TokenLocation, tokensAt } from './token-location.ts';
import { claimedIssuer, quote, type TokenRule, verifyToken } from './verify-token.ts';

/** More than any client has to send; each costs a verification. */
const MAX_TOKENS = 4;

export type AuthenticationResult =
  | {
      readonly ok: true;
      /** Undefined: the request brought no token, which is for AuthorizationPolicy to judge. */
      readonly jwt: JwtFacts | undefined;
    }
  | {
      readonly ok: false;
      /** 401: the token is not valid. 503: it cannot be told, since keys or the policy itself are missing. */
      readonly status: 401 | 503;
      /** For the log; the client is told only {@link challenge}. */
      readonly reason: string;
      /** For `www-authenticate` (RFC 6750 section 3); undefined with 503. */
      readonly challenge: string | undefined;
    };

interface Rule extends TokenRule {
  readonly index: number;
  readonly forward: boolean;
  readonly outputs: OutputHeaders;
}

/** One place to look for tokens, with the rules that look there. */
interface Place {
  readonly location: TokenLocation;
  readonly rules: readonly Rule[];
}

/** A token of a request, with the places where it stands. */
interface Found {
  readonly token: string;
  readonly places: readonly Place[];
}

interface Accepted {
  readonly found: Found;
  readonly rule: Rule;
  readonly claims: JWTPayload;
}

/**
 * What the RequestAuthentications of one Service make of the tokens of a request (Istio: RequestAuthentication).
 * It holds key sources of the cache from its making to {@link close}.
 */
export class Authenticator {
  readonly #cache: JwksCache;
  readonly #rules: readonly Rule[];
  readonly #places: readonly Place[];
  readonly #outputs: ReadonlySet<string>;
  readonly #missing: readonly string[];
  readonly #now: () => Date;
  readonly #unsupported: string | undefined;

  /**
   * @param policies those that apply to the Service, of which rules of the earlier come first
   * @param missing names that the Service lists and that are not known: no request passes
   */
  constructor(
    policies: readonly RequestAuthentication[],
    missing: readonly string[],
    cache: JwksCache,
    now: () => Date = () => new Date(),
  ) {
    this.#cache = cache;
    this.#missing = missing;
    this.#now = now;
    const written = policies.flatMap(({ jwtRules }) => jwtRules);
    this.#unsupported = [...policies, ...written].some(({ $unknown }) => ($unknown?.length ?? 0) > 0)
      ? 'a RequestAuthentication has a field that is not known here'
      : undefined;
    this.#rules = written.map((rule, index) => ({
      index,
      issuer: rule.issuer,
      audiences: rule.audiences,
      keys: cache.acquire(rule),
      forward: rule.forwardOriginalToken,
      outputs: outputHeadersOf(rule),
    }));
    this.#outputs = outputNames(this.#rules.map(({ outputs }) => outputs));
    const places = new Map<string, { location: TokenLocation; rules: Rule[] }>();
    for (const rule of this.#rules) {
      for (const location of locationsOf(written[rule.index] as (typeof written)[number])) {
        const key = locationKey(location);
        const place = places.get(key) ?? { location, rules: [] };
        if (!place.rules.includes(rule)) place.rules.push(rule);
        places.set(key, place);
      }
    }
    this.#places = [...places.values()];
  }

  /**
   * Verifies the tokens of a request. It sets `head.jwt`, removes what came under the name of a header that only the
   * waypoint writes, also where there is no token, writes those headers, and removes the tokens that are not forwarded.
   * A request without a token passes. Every token that a rule looks for must be valid; of several, the one of the
   * earliest rule speaks for the request. Never rejects.
   */
  async authenticate(head: RequestHead): Promise<AuthenticationResult> {
    head.jwt = undefined;
    const [unknown] = this.#missing;
    if (unknown !== undefined) return unavailable(`RequestAuthentication ${unknown} is not known`);
    if (this.#unsupported !== undefined) return unavailable(this.#unsupported);
    const found = this.#find(head);
    removeOutputs(head.headers, this.#outputs);
    if (found.length === 0) return { ok: true, jwt: undefined };
    if (found.length > MAX_TOKENS)
      return refuse(`the request has ${found.length} tokens; allowed: ${MAX_TOKENS}`);
    const accepted: Accepted[] = [];
    for (const each of found) {
      const result = await this.#verify(each);
      if ('ok' in result) return result;
      accepted.push(result);
    }
    accepted.sort((a, b) => a.rule.index - b.rule.index);
    for (const { found: each, rule } of accepted)
      if (!rule.forward) for (const { location } of each.places) removeTokens(head, location);
    // The first speaks last, so that its word is the one that stays.
    for (const { found: each, rule, claims } of accepted.toReversed())
      writeOutputs(head.headers, rule.outputs, each.token, claims);
    head.jwt = factsOf(accepted[0]?.claims ?? {});
    return { ok: true, jwt: head.jwt };
  }

  /** Lets go of the keys. */
  close(): void {
    for (const { keys } of this.#rules) this.#cache.release(keys);
  }

  /** The same token in two places is one. */
  #find(head: RequestHead): Found[] {
    const found = new Map<string, Place[]>();
    for (const place of this.#places) {
      for (const token of tokensAt(head, place.location)) {
        const places = found.get(token);
        if (places === undefined) found.set(token, [place]);
        else if (!places.includes(place)) places.push(place);
      }
    }
    return [...found].map(([token, places]) => ({ token, places }));
  }

  async #verify(found: Found): Promise<Accepted | Extract<AuthenticationResult, { ok: false }>> {
    const claimed = claimedIssuer(found.token);
    if ('problem' in claimed) return refuse(claimed.problem);
    const { issuer } = claimed;
    const rules = [...new Set(found.places.flatMap((place) => place.rules))]
      .filter((rule) => rule.issuer === issuer)
      .sort((a, b) => a.index - b.index);
    let failure = refuse(`issuer ${quote(issuer)} is not configured where the token stands`);
    for (const rule of rules) {
      const verified = await verifyToken(found.token, rule, this.#now());
      if (verified.ok) return { found, rule, claims: verified.claims };
      failure = verified.cause === 'keys' ? unavailable(verified.reason) : refuse(verified.reason);
    }
    return failure;
  }
}

function refuse(reason: string): Extract<AuthenticationResult, { ok: false }> {
  return { ok: false, status: 401, reason, challenge: 'Bearer error="invalid_token"' };
}

function unavailable(reason: string): Extract<AuthenticationResult, { ok: false }> {
  return { ok: false, status: 503, reason, challenge: undefined };
}

/** A token without a subject has no principal (Istio), not even one for `*`: that is the empty text here. */
function factsOf(claims: JWTPayload): JwtFacts {
  const { iss, sub, aud, azp } = claims;
  const audiences = typeof aud === 'string' ? [aud] : Array.isArray(aud) ? aud : [];
  return {
    principal: typeof sub === 'string' && sub !== '' ? `${iss}/${sub}` : '',
    audiences: audiences.filter((each) => typeof each === 'string'),
    presenter: typeof azp === 'string' ? azp : undefined,
    claims,
  };
}
