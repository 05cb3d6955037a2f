import type { TLSSocket } from 'node:tls';
import { parseSpiffeUri, spiffeUri, type Identity } from '../../lib/spiffe.ts';

/**
 * The SPIFFE identity in a certificate's subject alternative names, as Node prints them. SPIFFE X.509-SVID section 2
 * allows exactly one URI; a quoted entry (Node quotes what could be mistaken for a separator) makes the whole
 * certificate untrusted rather than parsed.
 *
 * @returns undefined when there is not exactly one well-formed identity
 */
export function identityFromSan(subjectAltName: string | undefined): Identity | undefined {
  if (subjectAltName === undefined || subjectAltName.includes('"')) return undefined;
  const uris = subjectAltName.split(', ').filter((entry) => entry.startsWith('URI:'));
  const [only] = uris;
  if (only === undefined || uris.length > 1) return undefined;
  try {
    return parseSpiffeUri(only.slice('URI:'.length));
  } catch {
    return undefined;
  }
}

/** The identity of the other end of an authenticated TLS connection; undefined when there is none to trust. */
export function peerIdentity(socket: TLSSocket): Identity | undefined {
  if (!socket.authorized) return undefined;
  return identityFromSan(socket.getPeerX509Certificate()?.subjectAltName);
}

/**
 * Checks a server's certificate against the identities that the destination may have (ambient-facts C2).
 *
 * @returns undefined when it is one of them, else an error that names both
 */
export function checkExpectedIdentity(
  subjectAltName: string | undefined,
  expected: readonly string[],
): Error | undefined {
  const identity = identityFromSan(subjectAltName);
  if (identity !== undefined && expected.includes(spiffeUri(identity))) return undefined;
  const got = identity === undefined ? 'no single SPIFFE identity' : spiffeUri(identity);
  return new Error(`the peer's certificate has ${got}, expected one of ${expected.join(', ')}`);
}
