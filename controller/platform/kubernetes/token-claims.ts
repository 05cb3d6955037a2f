/** What a service account's token says of itself. Nothing of it is proved before the API server has reviewed it. */
export interface TokenClaims {
  /** `system:serviceaccount:<namespace>:<name>`. */
  readonly subject: string;
  readonly audiences: readonly string[];
  /** When it ends, milliseconds since the epoch. */
  readonly expiresMs: number;
}

const MS_PER_S = 1000;

/** Reads the claims of a JSON Web Token (RFC 7519) without looking at its signature; undefined when it is none. */
export function claimsOf(token: string): TokenClaims | undefined {
  const parts = token.split('.');
  if (parts.length !== 3) return undefined;
  let claims: unknown;
  try {
    claims = JSON.parse(Buffer.from(parts[1] ?? '', 'base64url').toString('utf8'));
  } catch {
    return undefined;
  }
  if (typeof claims !== 'object' || claims === null) return undefined;
  const { sub, aud, exp } = claims as Record<string, unknown>;
  const audiences = (Array.isArray(aud) ? aud : [aud]).filter((each) => typeof each === 'string');
  if (typeof sub !== 'string' || typeof exp !== 'number' || !Number.isFinite(exp)) return undefined;
  return { subject: sub, audiences, expiresMs: exp * MS_PER_S };
}
