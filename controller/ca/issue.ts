import { type Authority } from './root.ts';
import { randomSerial, x509 } from './x509.ts';

export interface LeafRequest {
  readonly publicKey: x509.PublicKey | CryptoKey;
  readonly names: x509.JsonGeneralNames;
  /** Lifetime in seconds from now. */
  readonly ttlS: number;
}

export interface Leaf {
  readonly pem: string;
  readonly notBefore: Date;
  readonly notAfter: Date;
}

/** Clocks of nodes may be behind by so much; for short lives less, or the renewal at half life would come too early. */
const MAX_BACKDATE_S = 120;
const BACKDATE_SHARE = 0.1;

/** Signs a leaf for client and server use. Its names are critical, since it has no subject (RFC 5280 section 4.2.1.6). */
export async function issueLeaf(authority: Authority, request: LeafRequest): Promise<Leaf> {
  const now = Date.now();
  const backdateMs = Math.min(MAX_BACKDATE_S, request.ttlS * BACKDATE_SHARE) * 1000;
  const { issuer } = authority;
  const notBefore = new Date(Math.max(now - backdateMs, issuer.notBefore.getTime()));
  const notAfter = new Date(Math.min(now + request.ttlS * 1000, issuer.notAfter.getTime()));
  const cert = await x509.X509CertificateGenerator.create({
    serialNumber: randomSerial(),
    issuer: issuer.subjectName,
    notBefore,
    notAfter,
    publicKey: request.publicKey,
    signingKey: authority.key,
    signingAlgorithm: authority.algorithm,
    extensions: [
      new x509.BasicConstraintsExtension(false, undefined, true),
      new x509.KeyUsagesExtension(
        x509.KeyUsageFlags.digitalSignature | x509.KeyUsageFlags.keyEncipherment,
        true,
      ),
      new x509.ExtendedKeyUsageExtension([
        x509.ExtendedKeyUsage.serverAuth,
        x509.ExtendedKeyUsage.clientAuth,
      ]),
      new x509.SubjectAlternativeNameExtension(request.names, true),
      await x509.AuthorityKeyIdentifierExtension.create(issuer.publicKey),
      await x509.SubjectKeyIdentifierExtension.create(request.publicKey),
    ],
  });
  return { pem: `${cert.toString('pem')}\n`, notBefore, notAfter };
}
