import { createPrivateKey, type KeyObject, type webcrypto } from 'node:crypto';
import { x509 } from '../../../../controller/ca/x509.ts';

export type KeyAlgorithm = webcrypto.EcKeyGenParams | webcrypto.RsaHashedKeyGenParams;

const P256: webcrypto.EcKeyGenParams = { name: 'ECDSA', namedCurve: 'P-256' };

/** A certificate request with a key of its own; its subject and names are what an attacker would like to have. */
export async function makeCsr(
  algorithm: KeyAlgorithm | { name: 'Ed25519' } = P256,
  hash = 'SHA-256',
): Promise<{ csr: string; key: KeyObject }> {
  const keys = (await crypto.subtle.generateKey(algorithm, true, [
    'sign',
    'verify',
  ])) as webcrypto.CryptoKeyPair;
  const csr = await x509.Pkcs10CertificateRequestGenerator.create({
    name: 'CN=cluster-admin',
    keys,
    signingAlgorithm: { ...algorithm, hash } as webcrypto.EcdsaParams,
    extensions: [
      new x509.BasicConstraintsExtension(true, 5, true),
      new x509.SubjectAlternativeNameExtension([
        { type: 'url', value: 'spiffe://cluster.local/ns/kube-system/sa/admin' },
      ]),
    ],
  });
  const der = Buffer.from(await crypto.subtle.exportKey('pkcs8', keys.privateKey));
  return { csr: csr.toString('pem'), key: createPrivateKey({ key: der, format: 'der', type: 'pkcs8' }) };
}
