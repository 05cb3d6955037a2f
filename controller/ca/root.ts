import { createPrivateKey, createPublicKey, type KeyObject, X509Certificate } from 'node:crypto';
import { join } from 'node:path';
import { errorText } from '../../lib/loam-error.ts';
import { ControllerError } from '../errors.ts';
import { readLimited } from '../sources/read-limited.ts';
import { createAtomically, writeAtomically } from '../state-dir.ts';
import {
  importSigningKey,
  P256,
  randomSerial,
  type SigningAlgorithm,
  signingAlgorithm,
  x509,
} from './x509.ts';

/** A certificate authority that signs leaves. */
export interface Authority {
  /** The certificate whose key signs. */
  readonly issuer: x509.X509Certificate;
  readonly key: CryptoKey;
  readonly algorithm: SigningAlgorithm;
  /** PEM from the issuer to the root; one entry when the issuer is the root. */
  readonly chain: readonly string[];
  readonly rootPem: string;
  /** PEM of all roots that peers are to trust: its own, and those that overlap with it. */
  readonly rootsPem: string;
}

const ROOT_FILE = 'root-ca.pem';
const PUBLIC_ROOT_FILE = 'root-cert.pem';
const PUBLIC_MODE = 0o644;
const MAX_BYTES = 256 * 1024;
const ROOT_YEARS = 10;
const YEAR_MS = 365.25 * 24 * 3600 * 1000;
const BACKDATE_MS = 5 * 60 * 1000;
const CERTIFICATE = /-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g;
const PRIVATE_KEY = /-----BEGIN (?:EC |RSA )?PRIVATE KEY-----[^-]+-----END (?:EC |RSA )?PRIVATE KEY-----/;

export interface AuthorityOptions {
  readonly stateDir: string;
  readonly trustDomain: string;
  /** A given authority instead of a self-made one: certificates from the issuing one to the root, and its key. */
  readonly given?: { readonly certFile: string; readonly keyFile: string };
}

/**
 * The authority of this mesh: the given one, or the self-made one, made at first use. Writes the public root to
 * `root-cert.pem` in the state directory.
 *
 * @throws ControllerError CA_ROOT when files cannot be used
 */
export async function loadAuthority(options: AuthorityOptions): Promise<Authority> {
  try {
    const { certs, key } = options.given === undefined ? await selfMade(options) : await given(options.given);
    const authority = await assemble(certs, key);
    await writeAtomically(join(options.stateDir, PUBLIC_ROOT_FILE), authority.rootPem, PUBLIC_MODE);
    return authority;
  } catch (cause) {
    if (cause instanceof ControllerError) throw cause;
    throw new ControllerError('CA_ROOT', 'the certificate authority cannot be used', { cause });
  }
}

interface Material {
  readonly certs: readonly string[];
  readonly key: KeyObject;
}

async function given({ certFile, keyFile }: { certFile: string; keyFile: string }): Promise<Material> {
  return { certs: certificatesIn(certFile, await read(certFile)), key: keyIn(keyFile, await read(keyFile)) };
}

/** Certificate and key are one file, so that there is never one without the other. */
async function selfMade({ stateDir, trustDomain }: AuthorityOptions): Promise<Material> {
  const path = join(stateDir, ROOT_FILE);
  const existing = await readLimited(path, MAX_BYTES);
  if (!existing.ok && !existing.error.includes('ENOENT'))
    throw new ControllerError('CA_ROOT', `${path}: ${existing.error}`);
  // When another controller was faster, its root counts.
  if (!existing.ok) {
    const { cert, key } = await makeRoot(trustDomain);
    await createAtomically(path, `${cert}${key}`);
  }
  const content = existing.ok ? existing.text : await read(path);
  return { certs: certificatesIn(path, content), key: keyIn(path, content) };
}

/** A self-made root: certificate and key in PEM. */
export async function makeRoot(
  trustDomain: string,
): Promise<{ readonly cert: string; readonly key: string }> {
  const keys = await crypto.subtle.generateKey(P256, true, ['sign', 'verify']);
  const now = Date.now();
  const cert = await x509.X509CertificateGenerator.createSelfSigned({
    serialNumber: randomSerial(),
    name: [{ O: [trustDomain] }, { CN: ['Loam root'] }],
    notBefore: new Date(now - BACKDATE_MS),
    notAfter: new Date(now + ROOT_YEARS * YEAR_MS),
    signingAlgorithm: { ...P256, hash: 'SHA-256' },
    keys,
    extensions: [
      new x509.BasicConstraintsExtension(true, undefined, true),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.keyCertSign | x509.KeyUsageFlags.cRLSign, true),
      await x509.SubjectKeyIdentifierExtension.create(keys.publicKey),
    ],
  });
  const der = Buffer.from(await crypto.subtle.exportKey('pkcs8', keys.privateKey));
  const key = createPrivateKey({ key: der, format: 'der', type: 'pkcs8' });
  return {
    cert: `${cert.toString('pem')}\n`,
    key: key.export({ type: 'pkcs8', format: 'pem' }).toString(),
  };
}

async function read(path: string): Promise<string> {
  const result = await readLimited(path, MAX_BYTES);
  if (!result.ok) throw new ControllerError('CA_ROOT', `${path}: ${result.error}`);
  return result.text;
}

/**
 * @param where what the text is from, for the error
 * @throws ControllerError CA_ROOT
 */
export function certificatesIn(where: string, content: string): string[] {
  const certs = content.match(CERTIFICATE) ?? [];
  if (certs.length === 0) throw new ControllerError('CA_ROOT', `${where}: holds no certificate in PEM form`);
  return certs.map((pem) => `${pem.trim()}\n`);
}

/** @throws ControllerError CA_ROOT that quotes nothing of the key */
export function keyIn(where: string, content: string): KeyObject {
  if (content.includes('ENCRYPTED'))
    throw new ControllerError(
      'CA_ROOT',
      `${where}: the key is encrypted; give it unencrypted in a file of mode 0600`,
    );
  const pem = PRIVATE_KEY.exec(content)?.[0];
  if (pem === undefined) throw new ControllerError('CA_ROOT', `${where}: holds no private key in PEM form`);
  try {
    return createPrivateKey(pem);
  } catch {
    // OpenSSL's message could quote key material.
    throw new ControllerError('CA_ROOT', `${where}: the private key cannot be read`);
  }
}

/**
 * @param pems from the issuing certificate to the root
 * @throws Error that says which of it cannot be used, and why
 */
export async function assemble(pems: readonly string[], key: KeyObject): Promise<Authority> {
  const certs = pems.map((pem) => new X509Certificate(pem));
  const [first] = certs;
  const last = certs.at(-1);
  if (first === undefined || last === undefined) throw new Error('no certificate');
  certs.forEach((cert, i) => {
    const parent = certs[i + 1] ?? cert;
    const name = `certificate ${i + 1} (${cert.subject.replaceAll('\n', ', ')})`;
    if (!cert.ca) throw new Error(`${name} is not an authority (basicConstraints)`);
    if (!cert.checkIssued(parent) || !cert.verify(parent.publicKey)) {
      throw new Error(
        `${name} is not signed by the next one; the order must be: issuing authority first, self-signed root last`,
      );
    }
    const now = Date.now();
    if (Date.parse(cert.validFrom) > now || Date.parse(cert.validTo) < now) {
      throw new Error(`${name} is valid from ${cert.validFrom} to ${cert.validTo} only`);
    }
  });
  if (!createPublicKey(key).equals(first.publicKey))
    throw new Error('the private key does not belong to the first certificate');
  return {
    issuer: new x509.X509Certificate(pems[0] ?? ''),
    key: await importSigningKey(key).catch((error: unknown) => {
      throw new Error(`the authority has a ${errorText(error)}`);
    }),
    algorithm: signingAlgorithm(key),
    chain: pems,
    rootPem: pems.at(-1) ?? '',
    rootsPem: pems.at(-1) ?? '',
  };
}
