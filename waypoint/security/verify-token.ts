import { decodeJwt, decodeProtectedHeader, errors, type JWTPayload, jwtVerify } from 'jose';
import type { KeySet } from './jwks.ts';
import type { KeySource } from './jwks-entry.ts';

/**
 * Algorithms with a public key. `none` and HMAC are not among them: with those, whoever knows the public key could sign
 * (RFC 8725 sections 2.1 and 3.1).
 */
const ALGORITHMS: readonly string[] = [
  ...['RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512'],
  ...['ES256', 'ES384', 'ES512', 'EdDSA', 'Ed25519'],
];
/** For clocks that differ; the same as Envoy's. */
const LEEWAY_S = 60;
const MAX_TOKEN_LENGTH = 16 * 1024;
/** Keys that are tried for a token that names none. */
const MAX_TRIES = 8;

/** What a token is verified against. */
export interface TokenRule {
  readonly issuer: string;
  /** One of them must be in the token; none: not asked. */
  readonly audiences: readonly string[];
  readonly keys: KeySource;
}

export type Verified =
  | { readonly ok: true; readonly claims: JWTPayload }
  | {
      readonly ok: false;
      /** `keys`: it cannot be told, since there are no keys; not the client's fault. */ readonly cause:
        'token' | 'keys';
      readonly reason: string;
    };

/** The issuer that a token claims, without any proof; a problem where it is no token at all. */
export function claimedIssuer(token: string): { readonly issuer: string } | { readonly problem: string } {
  if (token.length > MAX_TOKEN_LENGTH)
    return { problem: `the token has ${token.length} characters; allowed: ${MAX_TOKEN_LENGTH}` };
  try {
    const { alg } = decodeProtectedHeader(token);
    if (typeof alg !== 'string' || !ALGORITHMS.includes(alg))
      return { problem: `the algorithm ${quote(alg)} of the token is not allowed` };
    const { iss } = decodeJwt(token);
    return typeof iss === 'string' ? { issuer: iss } : { problem: 'the token names no issuer' };
  } catch {
    return { problem: 'what should be a token is not a signed JWT' };
  }
}

/** Verifies signature, issuer, audience and times of a token (RFC 7519 section 7.2, RFC 8725). Never rejects. */
export async function verifyToken(token: string, rule: TokenRule, now: Date): Promise<Verified> {
  const keys = await rule.keys.current();
  if (keys === undefined) {
    const why = rule.keys.problem === undefined ? '' : `: ${rule.keys.problem}`;
    return {
      ok: false,
      cause: 'keys',
      reason: `there are no keys of issuer ${quote(rule.issuer)} yet${why}`,
    };
  }
  const first = await verifyWith(token, rule, keys, now);
  if (first !== 'unknown key') return first;
  const newer = await rule.keys.newerThan(keys);
  const second = newer === undefined ? first : await verifyWith(token, rule, newer, now);
  if (second !== 'unknown key') return second;
  return refused(`issuer ${quote(rule.issuer)} has no key for the token`);
}

async function verifyWith(
  token: string,
  rule: TokenRule,
  keys: KeySet,
  now: Date,
): Promise<Verified | 'unknown key'> {
  const options = {
    algorithms: [...ALGORITHMS],
    issuer: rule.issuer,
    ...(rule.audiences.length === 0 ? {} : { audience: [...rule.audiences] }),
    clockTolerance: LEEWAY_S,
    currentDate: now,
  };
  try {
    const { payload } = await jwtVerify(token, keys.resolve, options);
    return { ok: true, claims: payload };
  } catch (error) {
    if (error instanceof errors.JWKSNoMatchingKey) return 'unknown key';
    if (!(error instanceof errors.JWKSMultipleMatchingKeys)) return refused(explain(error));
    let tries = 0;
    for await (const key of error) {
      if (++tries > MAX_TRIES) break;
      try {
        const { payload } = await jwtVerify(token, key, options);
        return { ok: true, claims: payload };
      } catch (inner) {
        if (!(inner instanceof errors.JWSSignatureVerificationFailed)) return refused(explain(inner));
      }
    }
    return refused('the signature of the token is wrong');
  }
}

function refused(reason: string): Verified {
  return { ok: false, cause: 'token', reason };
}

function explain(error: unknown): string {
  if (error instanceof errors.JWTExpired) return 'the token has expired';
  if (error instanceof errors.JWTClaimValidationFailed)
    return `the token's claim ${quote(error.claim)} is wrong`;
  if (error instanceof errors.JWSSignatureVerificationFailed) return 'the signature of the token is wrong';
  if (error instanceof errors.JOSEError) return `the token is refused (${error.code})`;
  return 'the token cannot be verified with the key that it names';
}

/** Of what came from outside, at most so much goes to a log. */
export function quote(value: unknown): string {
  return (JSON.stringify(value) ?? 'undefined').slice(0, 200);
}
