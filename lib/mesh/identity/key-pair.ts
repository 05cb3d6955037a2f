import 'reflect-metadata';
import { KeyObject, webcrypto } from 'node:crypto';
import { Pkcs10CertificateRequestGenerator, SubjectAlternativeNameExtension } from '@peculiar/x509';
import { spiffeUri, type Identity } from '../../spiffe.ts';

/** What meshes use, and what every peer of an ambient mesh accepts (ambient-facts C2). */
const ALGORITHM = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' } as const;

/** A fresh key and the request to certify it. */
export interface KeyAndRequest {
  /** PKCS #8 PEM; never to be logged. */
  readonly keyPem: string;
  readonly publicKey: KeyObject;
  /** PKCS #10 PEM, with the identity as its one URI subject alternative name. */
  readonly csrPem: string;
}

/** Makes a P-256 key for an identity. Each certificate gets a key of its own. */
export async function makeKeyAndRequest(identity: Identity): Promise<KeyAndRequest> {
  const keys = await webcrypto.subtle.generateKey(ALGORITHM, true, ['sign', 'verify']);
  const csr = await Pkcs10CertificateRequestGenerator.create(
    {
      name: '',
      keys,
      signingAlgorithm: ALGORITHM,
      extensions: [new SubjectAlternativeNameExtension([{ type: 'url', value: spiffeUri(identity) }], true)],
    },
    webcrypto,
  );
  return {
    keyPem: KeyObject.from(keys.privateKey).export({ type: 'pkcs8', format: 'pem' }).toString(),
    publicKey: KeyObject.from(keys.publicKey),
    csrPem: csr.toString('pem'),
  };
}
