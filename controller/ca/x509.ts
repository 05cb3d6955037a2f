// The library's decorators need this polyfill before anything else of it is loaded.
import 'reflect-metadata';
import { type KeyObject, randomBytes } from 'node:crypto';
import * as x509 from '@peculiar/x509';

export { x509 };

export const P256 = { name: 'ECDSA', namedCurve: 'P-256' } as const;

const SERIAL_BYTES = 16;

/** A random serial number: positive, 127 bits (RFC 5280 section 4.1.2.2 wants at most 20 octets, above zero). */
export function randomSerial(): string {
  const bytes = randomBytes(SERIAL_BYTES);
  // The first byte keeps the number positive and its length fixed.
  bytes[0] = ((bytes[0] ?? 0) & 0x7f) | 0x40;
  return bytes.toString('hex');
}

/** How a private key signs, in WebCrypto's words. */
export type SigningAlgorithm =
  | { readonly name: 'ECDSA'; readonly namedCurve: 'P-256' | 'P-384'; readonly hash: 'SHA-256' | 'SHA-384' }
  | { readonly name: 'RSASSA-PKCS1-v1_5'; readonly hash: 'SHA-256' };

const MIN_RSA_BITS = 2048;
const MAX_RSA_BITS = 8192;

/**
 * The algorithm of a key that the mesh admits: ECDSA P-256 or P-384, or RSA of 2048 to 8192 bits.
 *
 * @throws Error that names the key's kind and what is allowed
 */
export function signingAlgorithm(key: KeyObject): SigningAlgorithm {
  const { asymmetricKeyType: type, asymmetricKeyDetails: details } = key;
  if (type === 'ec' && details?.namedCurve === 'prime256v1')
    return { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' };
  if (type === 'ec' && details?.namedCurve === 'secp384r1')
    return { name: 'ECDSA', namedCurve: 'P-384', hash: 'SHA-384' };
  const bits = details?.modulusLength ?? 0;
  if (type === 'rsa' && bits >= MIN_RSA_BITS && bits <= MAX_RSA_BITS)
    return { name: 'RSASSA-PKCS1-v1_5', hash: 'SHA-256' };
  const found =
    type === 'ec' ? `EC ${details?.namedCurve ?? ''}` : type === 'rsa' ? `RSA ${bits} bits` : String(type);
  throw new Error(
    `key of kind ${found}; allowed: ECDSA P-256, ECDSA P-384, RSA ${MIN_RSA_BITS} to ${MAX_RSA_BITS} bits`,
  );
}

/** A private key as WebCrypto takes it, for signing only. */
export async function importSigningKey(key: KeyObject): Promise<CryptoKey> {
  const algorithm = signingAlgorithm(key);
  return crypto.subtle.importKey(
    'pkcs8',
    new Uint8Array(key.export({ type: 'pkcs8', format: 'der' })),
    algorithm,
    false,
    ['sign'],
  );
}
