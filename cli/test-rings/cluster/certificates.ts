/** The keys and certificates of a test cluster: P-256, of an authority that goes with the cluster. */
// The library's decorators need this polyfill before anything else of it is loaded.
import 'reflect-metadata';
import { generateKeyPairSync, randomBytes, webcrypto } from 'node:crypto';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import * as x509 from '@peculiar/x509';
import { ADDRESSES, DNS_ZONE, type ClusterPlan } from './plan.ts';

const ALGORITHM = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' } as const;
const LIFETIME_MS = 30 * 86_400_000;

/** Who has a certificate: file name, subject by Kubernetes' rules for users and groups, names that it answers to. */
interface Holder {
  readonly file: string;
  readonly subject: string;
  readonly dns?: readonly string[];
  readonly ips?: readonly string[];
}

class Authority {
  readonly #certificate: x509.X509Certificate;
  readonly #key: webcrypto.CryptoKey;

  private constructor(certificate: x509.X509Certificate, key: webcrypto.CryptoKey) {
    this.#certificate = certificate;
    this.#key = key;
  }

  static async create(dir: string, file: string, subject: string): Promise<Authority> {
    const keys = await webcrypto.subtle.generateKey(ALGORITHM, true, ['sign', 'verify']);
    const certificate = await x509.X509CertificateGenerator.createSelfSigned({
      name: subject,
      keys,
      signingAlgorithm: ALGORITHM,
      ...validity(),
      extensions: [
        new x509.BasicConstraintsExtension(true, undefined, true),
        new x509.KeyUsagesExtension(x509.KeyUsageFlags.keyCertSign | x509.KeyUsageFlags.cRLSign, true),
        await x509.SubjectKeyIdentifierExtension.create(keys.publicKey),
      ],
    });
    await write(dir, file, certificate, keys.privateKey);
    return new Authority(certificate, keys.privateKey);
  }

  async issue(dir: string, { file, subject, dns = [], ips = [] }: Holder): Promise<void> {
    const keys = await webcrypto.subtle.generateKey(ALGORITHM, true, ['sign', 'verify']);
    const names = [
      ...dns.map((value) => ({ type: 'dns', value }) as const),
      ...ips.map((value) => ({ type: 'ip', value }) as const),
    ];
    const certificate = await x509.X509CertificateGenerator.create({
      subject,
      issuer: this.#certificate.subject,
      publicKey: keys.publicKey,
      signingKey: this.#key,
      signingAlgorithm: ALGORITHM,
      ...validity(),
      extensions: [
        new x509.KeyUsagesExtension(
          x509.KeyUsageFlags.digitalSignature | x509.KeyUsageFlags.keyEncipherment,
          true,
        ),
        new x509.ExtendedKeyUsageExtension([
          x509.ExtendedKeyUsage.clientAuth,
          x509.ExtendedKeyUsage.serverAuth,
        ]),
        await x509.AuthorityKeyIdentifierExtension.create(this.#certificate.publicKey),
        ...(names.length === 0 ? [] : [new x509.SubjectAlternativeNameExtension(names)]),
      ],
    });
    await write(dir, file, certificate, keys.privateKey);
  }
}

/** Writes all keys and certificates into the plan's folder; what was there is replaced. */
export async function makeCertificates(plan: ClusterPlan): Promise<void> {
  const dir = plan.pki;
  mkdirSync(dir, { recursive: true, mode: 0o700 });
  const cluster = await Authority.create(dir, 'ca', 'CN=loam test cluster');
  const service = ['kubernetes', 'kubernetes.default', 'kubernetes.default.svc'];
  for (const holder of [
    {
      file: 'apiserver',
      subject: 'CN=kube-apiserver',
      dns: ['localhost', ...service, `kubernetes.default.svc.${DNS_ZONE}`],
      ips: ['127.0.0.1', ADDRESSES.control, ADDRESSES.kubernetes],
    },
    { file: 'admin', subject: 'O=system:masters, CN=admin' },
    { file: 'apiserver-kubelet', subject: 'O=system:masters, CN=apiserver-kubelet' },
    { file: 'controller-manager', subject: 'CN=system:kube-controller-manager' },
    { file: 'scheduler', subject: 'CN=system:kube-scheduler' },
    { file: 'kube-proxy', subject: 'CN=system:kube-proxy' },
    ...plan.nodes.map(({ name, ip }) => ({
      file: name,
      subject: `O=system:nodes, CN=system:node:${name}`,
      dns: [name],
      ips: [ip],
    })),
  ])
    await cluster.issue(dir, holder);

  const front = await Authority.create(dir, 'front-proxy-ca', 'CN=loam test cluster front proxy');
  await front.issue(dir, { file: 'front-proxy', subject: 'CN=front-proxy-client' });

  const accounts = generateKeyPairSync('rsa', {
    modulusLength: 2048,
    publicKeyEncoding: { type: 'spki', format: 'pem' },
    privateKeyEncoding: { type: 'pkcs8', format: 'pem' },
  });
  writeFileSync(join(dir, 'accounts.key'), accounts.privateKey, { mode: 0o600 });
  writeFileSync(join(dir, 'accounts.pub'), accounts.publicKey);
}

function validity(): { notBefore: Date; notAfter: Date; serialNumber: string } {
  const now = Date.now();
  return {
    notBefore: new Date(now - 60_000),
    notAfter: new Date(now + LIFETIME_MS),
    // Positive and of fixed length: the highest bit is the sign.
    serialNumber: `50${randomBytes(15).toString('hex')}`,
  };
}

async function write(
  dir: string,
  file: string,
  certificate: x509.X509Certificate,
  key: webcrypto.CryptoKey,
): Promise<void> {
  const pkcs8 = Buffer.from(await webcrypto.subtle.exportKey('pkcs8', key)).toString('base64');
  const pem = `-----BEGIN PRIVATE KEY-----\n${(pkcs8.match(/.{1,64}/g) ?? []).join('\n')}\n-----END PRIVATE KEY-----\n`;
  writeFileSync(join(dir, `${file}.key`), pem, { mode: 0o600 });
  writeFileSync(join(dir, `${file}.crt`), `${certificate.toString('pem')}\n`);
}
