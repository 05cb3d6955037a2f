import 'reflect-metadata';
import { X509Certificate, type KeyObject } from 'node:crypto';
import { SubjectAlternativeNameExtension, X509Certificate as ParsedCertificate } from '@peculiar/x509';
import { errorText } from '../../loam-error.ts';
import { parseSpiffeUri, spiffeUri, type Identity } from '../../spiffe.ts';
import { MeshError } from '../errors.ts';

const PEM_BLOCK = /-----BEGIN CERTIFICATE-----[A-Za-z0-9+/=\s]+-----END CERTIFICATE-----/g;
const SUBJECT_ALT_NAME = '2.5.29.17';
/** A chain is a root and a few intermediates; more is an attack or a mistake. */
const MAX_CHAIN = 10;
const MAX_ROOTS = 64;

/** What a CA's answer holds once it was verified. */
export interface VerifiedChain {
  /** The leaf, then intermediates; what is sent in a handshake. */
  readonly chainPem: string;
  /** Roots that came with the answer. */
  readonly roots: readonly X509Certificate[];
  readonly notBefore: Date;
  readonly notAfter: Date;
  readonly serialNumber: string;
}

/**
 * Every certificate of a PEM text.
 *
 * @throws MeshError CERTIFICATE_INVALID
 */
export function parseCertificates(pem: string): X509Certificate[] {
  const blocks = pem.match(PEM_BLOCK) ?? [];
  if (blocks.length > MAX_ROOTS)
    throw invalid(`${blocks.length} certificates in one text, allowed: ${MAX_ROOTS}`);
  return blocks.map((block) => {
    try {
      return new X509Certificate(block);
    } catch (error) {
      throw new MeshError('CERTIFICATE_INVALID', 'a certificate cannot be read', { cause: error });
    }
  });
}

/**
 * Verifies what a CA answered: the leaf is for the identity that was asked for and for our key, is valid now, and
 * chains to a root that is trusted or came with the answer (the CA's own connection was authenticated).
 *
 * @param chain PEM texts, leaf first
 * @throws MeshError CERTIFICATE_INVALID that says which of it is wrong
 */
export function verifyChain(
  chain: readonly string[],
  wanted: { readonly identity: Identity; readonly publicKey: KeyObject },
  trusted: readonly X509Certificate[],
  now: Date,
): VerifiedChain {
  const [leaf, ...rest] = parseCertificates(chain.join('\n'));
  if (!leaf) throw invalid('the answer holds no certificate');
  if (rest.length > MAX_CHAIN) throw invalid(`the answer holds ${rest.length + 1} certificates`);

  const identity = identityOfCertificate(leaf.raw);
  if (spiffeUri(identity) !== spiffeUri(wanted.identity)) {
    throw invalid(
      `the certificate is for ${spiffeUri(identity)}, asked for was ${spiffeUri(wanted.identity)}`,
    );
  }
  if (!leaf.publicKey.equals(wanted.publicKey)) throw invalid('the certificate is for another key');
  if (leaf.ca) throw invalid('the certificate is a CA');
  checkDates(leaf, now, 'the certificate');

  const roots = rest.filter(isRoot);
  const intermediates = rest.filter((c) => !isRoot(c));
  verifyPath(leaf, intermediates, [...trusted, ...roots], now);
  return {
    chainPem: [leaf, ...intermediates].map((c) => c.toString()).join(''),
    roots,
    notBefore: leaf.validFromDate,
    notAfter: leaf.validToDate,
    serialNumber: leaf.serialNumber,
  };
}

/**
 * The identity of a certificate: its only URI subject alternative name, of SPIFFE's form (X509-SVID section 2).
 *
 * @param der the certificate; read by an ASN.1 parser, since Node's text of the names is quoted and joined
 * @throws MeshError PEER_IDENTITY
 */
export function identityOfCertificate(der: Uint8Array): Identity {
  let uris: string[];
  try {
    const certificate = new ParsedCertificate(new Uint8Array(der));
    const names = certificate.extensions.filter((e) => e.type === SUBJECT_ALT_NAME);
    if (names.length > 1) throw new Error('subject alternative names are given twice');
    uris = names
      .filter((e) => e instanceof SubjectAlternativeNameExtension)
      .flatMap((e) => e.names.items.filter((name) => name.type === 'url').map((name) => name.value));
  } catch (error) {
    throw new MeshError('PEER_IDENTITY', `the certificate cannot be read: ${errorText(error)}`);
  }
  const [uri, ...more] = uris;
  if (uri === undefined) throw new MeshError('PEER_IDENTITY', 'the certificate has no URI name');
  if (more.length > 0) {
    throw new MeshError('PEER_IDENTITY', `the certificate has ${uris.length} URI names, allowed: one`);
  }
  try {
    return parseSpiffeUri(uri);
  } catch (error) {
    throw new MeshError('PEER_IDENTITY', 'the certificate has a URI name of another form', {
      cause: error,
    });
  }
}

/** Whether a certificate is self-issued and self-signed. */
export function isRoot(certificate: X509Certificate): boolean {
  return certificate.ca && certificate.checkIssued(certificate) && certificate.verify(certificate.publicKey);
}

function verifyPath(
  leaf: X509Certificate,
  intermediates: readonly X509Certificate[],
  roots: readonly X509Certificate[],
  now: Date,
): void {
  let at = leaf;
  const unused = new Set(intermediates);
  for (;;) {
    const root = roots.find((c) => issued(c, at) && isValid(c, now));
    if (root) return;
    const next = [...unused].find((c) => issued(c, at));
    if (!next) break;
    checkDates(next, now, 'an intermediate certificate');
    unused.delete(next);
    at = next;
  }
  throw invalid(
    `no trusted root signed ${at === leaf ? 'the certificate' : 'its chain'} (issuer ${oneLine(at.issuer)})`,
  );
}

function issued(issuer: X509Certificate, subject: X509Certificate): boolean {
  return issuer.ca && subject.checkIssued(issuer) && subject.verify(issuer.publicKey);
}

function isValid(certificate: X509Certificate, now: Date): boolean {
  return certificate.validFromDate <= now && now < certificate.validToDate;
}

function checkDates(certificate: X509Certificate, now: Date, what: string): void {
  if (isValid(certificate, now)) return;
  throw invalid(
    `${what} is valid from ${certificate.validFromDate.toISOString()} to ${certificate.validToDate.toISOString()}, now is ${now.toISOString()}`,
  );
}

function oneLine(text: string): string {
  return JSON.stringify(text.replaceAll('\n', ', ').slice(0, 200));
}

function invalid(message: string): MeshError {
  return new MeshError('CERTIFICATE_INVALID', message);
}
