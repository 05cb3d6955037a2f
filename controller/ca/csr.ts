import { createPublicKey } from 'node:crypto';
import { errorText } from '../../lib/loam-error.ts';
import { ControllerError } from '../errors.ts';
import { signingAlgorithm, x509 } from './x509.ts';

const MAX_CSR_CHARS = 16 * 1024;
/** One repetition alone: neighbours that can share characters are tried in all divisions, and a request of blanks takes hours. */
const PEM =
  /^-----BEGIN (?:NEW )?CERTIFICATE REQUEST-----([A-Za-z0-9+/=\s]+)-----END (?:NEW )?CERTIFICATE REQUEST-----$/;

/**
 * Takes the public key out of a certificate request; nothing else in it counts. The request's own signature must hold:
 * it proves that the caller has the private key.
 *
 * @throws ControllerError CA_CSR when it is not one valid request with a key that the mesh admits
 */
export async function publicKeyOfCsr(pem: string): Promise<x509.PublicKey> {
  if (pem.length > MAX_CSR_CHARS)
    throw new ControllerError('CA_CSR', `the request is longer than ${MAX_CSR_CHARS} characters`);
  const base64 = PEM.exec(pem.trim())?.[1];
  if (base64 === undefined)
    throw new ControllerError('CA_CSR', 'the request is not one PEM block "CERTIFICATE REQUEST"');
  try {
    const csr = new x509.Pkcs10CertificateRequest(new Uint8Array(Buffer.from(base64, 'base64')));
    const der = Buffer.from(csr.publicKey.rawData);
    // OpenSSL's own reading of the key decides: kind, size, and that the point lies on the curve.
    signingAlgorithm(createPublicKey({ key: der, format: 'der', type: 'spki' }));
    if (!(await csr.verify())) throw new Error('its signature does not hold');
    return csr.publicKey;
  } catch (error) {
    throw new ControllerError('CA_CSR', `the request cannot be used: ${errorText(error).slice(0, 300)}`);
  }
}
