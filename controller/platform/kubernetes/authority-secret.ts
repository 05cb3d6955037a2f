import { X509Certificate } from 'node:crypto';
import { errorText } from '../../../lib/loam-error.ts';
import { assemble, type Authority, certificatesIn, keyIn, makeRoot } from '../../ca/root.ts';
import { ControllerError } from '../../errors.ts';
import type { SecretData } from './secret.ts';

/** By these names Loam and Istio (`cacerts`) hold an authority. */
const OWN = { cert: 'ca-cert.pem', key: 'ca-key.pem', roots: 'root-cert.pem' } as const;
/** And by these cert-manager does. */
const CERT_MANAGER = { cert: 'tls.crt', key: 'tls.key', roots: 'ca.crt' } as const;
/** Of Istio's `cacerts`: what lies between. */
const CHAIN = 'cert-chain.pem';

const MAX_CERTIFICATES = 32;

/** The values of a Secret with a self-made root. */
export async function makeAuthorityValues(trustDomain: string): Promise<Readonly<Record<string, string>>> {
  const { cert, key } = await makeRoot(trustDomain);
  return { [OWN.cert]: cert, [OWN.key]: key, [OWN.roots]: cert };
}

/**
 * The authority that a Secret holds: a certificate that signs, its key, and one root or several, of which one is that
 * certificate's; the others are trusted beside it, so that roots can overlap while they are rotated.
 *
 * @throws ControllerError CA_ROOT that names Secret and field
 */
export async function authorityOf(secret: SecretData): Promise<Authority> {
  const at = (field: string): string => `Secret ${secret.namespace}/${secret.name}: field ${field}`;
  const names =
    secret.values[OWN.cert] === undefined && secret.values[CERT_MANAGER.cert] !== undefined
      ? CERT_MANAGER
      : OWN;
  const value = (field: string): string => {
    const found = secret.values[field];
    if (found === undefined || found.trim() === '')
      throw new ControllerError('CA_ROOT', `${at(field)} is missing; allowed: PEM`);
    return found;
  };
  const certs = certificates(at(names.cert), value(names.cert));
  const key = keyIn(at(names.key), value(names.key));
  const roots = certificates(at(names.roots), value(names.roots));
  const between = secret.values[CHAIN] === undefined ? [] : certificates(at(CHAIN), value(CHAIN));
  const issuer = certs[0];
  if (issuer === undefined) throw new Error('no certificate');
  if (!issuer.checkPrivateKey(key))
    throw new ControllerError(
      'CA_ROOT',
      `${at(names.key)} does not belong to the certificate in ${names.cert}`,
    );
  for (const root of roots) {
    if (!isSelfSigned(root) || !root.ca)
      throw new ControllerError(
        'CA_ROOT',
        `${at(names.roots)}: ${nameOf(root)} is no root; allowed: certificates of authorities that signed themselves`,
      );
  }
  const path = pathToRoot(issuer, [...certs.slice(1), ...between], roots);
  if (path === undefined)
    throw new ControllerError(
      'CA_ROOT',
      `${at(names.roots)}: none of its ${roots.length} certificates signed ${names.cert} (${nameOf(issuer)})`,
    );
  try {
    const authority = await assemble(
      path.map((cert) => cert.toString()),
      key,
    );
    // Its own root comes last, as the last of a chain does.
    const trusted = [...roots.filter((root) => !same(root, path.at(-1))), path.at(-1)];
    return { ...authority, rootsPem: trusted.map((root) => root?.toString() ?? '').join('') };
  } catch (error) {
    throw new ControllerError('CA_ROOT', `${at(names.cert)}: ${errorText(error)}`);
  }
}

function certificates(where: string, pem: string): X509Certificate[] {
  const texts = certificatesIn(where, pem);
  if (texts.length > MAX_CERTIFICATES)
    throw new ControllerError(
      'CA_ROOT',
      `${where}: ${texts.length} certificates; allowed: ${MAX_CERTIFICATES}`,
    );
  return texts.map((text) => {
    try {
      return new X509Certificate(text);
    } catch (cause) {
      throw new ControllerError('CA_ROOT', `${where}: a certificate cannot be read`, { cause });
    }
  });
}

/** From the certificate that signs to a root that is trusted. */
function pathToRoot(
  issuer: X509Certificate,
  between: readonly X509Certificate[],
  roots: readonly X509Certificate[],
): X509Certificate[] | undefined {
  const path = [issuer];
  const unused = new Set(between);
  for (let at = issuer; ;) {
    const root = roots.find((each) => same(each, at) || isSignedBy(at, each));
    if (root !== undefined) return same(root, at) ? path : [...path, root];
    const next = [...unused].find((each) => !same(each, at) && isSignedBy(at, each));
    if (next === undefined) return undefined;
    unused.delete(next);
    path.push(next);
    at = next;
  }
}

function isSignedBy(cert: X509Certificate, by: X509Certificate): boolean {
  return cert.checkIssued(by) && cert.verify(by.publicKey);
}

function isSelfSigned(cert: X509Certificate): boolean {
  return isSignedBy(cert, cert);
}

function same(a: X509Certificate, b: X509Certificate | undefined): boolean {
  return a.fingerprint256 === b?.fingerprint256;
}

function nameOf(cert: X509Certificate): string {
  return cert.subject.replaceAll('\n', ', ');
}
