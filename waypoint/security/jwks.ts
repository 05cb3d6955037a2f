import { createLocalJWKSet, type JWK, type LocalJWKSet } from 'jose';
import { LoamError } from '../../lib/loam-error.ts';

/** Far above what an issuer has, also in the middle of a rotation. */
const MAX_KEYS = 100;
/** Types of keys that can verify what they could not have signed; `oct` is a shared secret (RFC 7518 section 6.4). */
const PUBLIC_TYPES: ReadonlySet<unknown> = new Set(['RSA', 'EC', 'OKP']);

/**
 * `JWKS_INVALID`: what came is no JSON Web Key Set. `JWKS_TOO_LARGE`: it is longer than allowed. `JWKS_FETCH`: nothing
 * came, or an answer that is not 200, or the URI cannot be read from.
 */
export class JwksError extends LoamError<'JWKS_INVALID' | 'JWKS_TOO_LARGE' | 'JWKS_FETCH'> {}

/** Public keys of one issuer. Never changed: newer keys are a new set. */
export interface KeySet {
  readonly resolve: LocalJWKSet;
  /** How many of the keys can be used. */
  readonly size: number;
}

/**
 * Reads a JSON Web Key Set (RFC 7517). Keys of types that are of no use here are passed over (section 5); a set without
 * any key is one that verifies nothing.
 *
 * @throws JwksError JWKS_INVALID
 */
export function parseJwks(text: string): KeySet {
  const all = keysOf(text);
  const keys = all.filter(
    (key): key is JWK => typeof key === 'object' && key !== null && 'kty' in key && PUBLIC_TYPES.has(key.kty),
  );
  if (all.length > MAX_KEYS)
    throw new JwksError('JWKS_INVALID', `the key set has ${all.length} keys; allowed: ${MAX_KEYS}`);
  if (keys.length === 0 && all.length > 0)
    throw new JwksError('JWKS_INVALID', 'none of the keys in the key set is a public RSA, EC or OKP key');
  if (keys.some((key) => 'd' in key))
    throw new JwksError('JWKS_INVALID', 'the key set has a private key; it must have public keys only');
  return { resolve: createLocalJWKSet({ keys }), size: keys.length };
}

function keysOf(text: string): readonly unknown[] {
  let parsed: unknown;
  try {
    parsed = JSON.parse(text);
  } catch {
    // The parser's message would quote what came, and that may be a secret of somebody else.
    throw new JwksError('JWKS_INVALID', 'the key set is not JSON');
  }
  if (typeof parsed === 'object' && parsed !== null && 'keys' in parsed && Array.isArray(parsed.keys))
    return parsed.keys;
  throw new JwksError('JWKS_INVALID', 'the key set has no list "keys" (RFC 7517 section 5)');
}
