import 'reflect-metadata';
import { KeyObject, webcrypto } from 'node:crypto';
import {
  BasicConstraintsExtension,
  Pkcs10CertificateRequest,
  SubjectAlternativeNameExtension,
  X509CertificateGenerator,
  type Extension,
  type JsonGeneralName,
  type X509Certificate,
} from '@peculiar/x509';

const ALGORITHM = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' } as const;
const HOUR_MS = 3_600_000;
let serial = 1;

type KeyPair = Awaited<ReturnType<typeof newKeys>>;

function newKeys() {
  return webcrypto.subtle.generateKey(ALGORITHM, true, ['sign', 'verify']);
}

export interface Validity {
  readonly notBefore: Date;
  readonly notAfter: Date;
}

/** One hour back, one hour on. */
export function validNow(now = Date.now()): Validity {
  return { notBefore: new Date(now - HOUR_MS), notAfter: new Date(now + HOUR_MS) };
}

/** A certificate authority for tests: a root, or an intermediate of another. */
export class TestCa {
  readonly certificate: X509Certificate;
  readonly #keys: KeyPair;
  readonly #name: string;

  private constructor(name: string, certificate: X509Certificate, keys: KeyPair) {
    this.#name = name;
    this.certificate = certificate;
    this.#keys = keys;
  }

  get pem(): string {
    return `${this.certificate.toString('pem')}\n`;
  }

  /** Its own key, for who signs in its place. */
  get keyPem(): string {
    return KeyObject.from(this.#keys.privateKey).export({ type: 'pkcs8', format: 'pem' }).toString();
  }

  static async root(name = 'CN=test root', validity = validNow()): Promise<TestCa> {
    const keys = await newKeys();
    const certificate = await X509CertificateGenerator.createSelfSigned({
      serialNumber: nextSerial(),
      name,
      ...validity,
      keys,
      signingAlgorithm: ALGORITHM,
      extensions: [new BasicConstraintsExtension(true, undefined, true)],
    });
    return new TestCa(name, certificate, keys);
  }

  async intermediate(name = 'CN=test intermediate', validity = validNow()): Promise<TestCa> {
    const keys = await newKeys();
    const certificate = await this.#issue(keys.publicKey, name, validity, [
      new BasicConstraintsExtension(true, undefined, true),
    ]);
    return new TestCa(name, certificate, keys);
  }

  /** What signs although it is no CA: a leaf that someone took for an authority. */
  async impostor(names: JsonGeneralName[]): Promise<TestCa> {
    const keys = await newKeys();
    const certificate = await this.#issue(keys.publicKey, 'CN=impostor', validNow(), [
      new SubjectAlternativeNameExtension(names),
    ]);
    return new TestCa('CN=impostor', certificate, keys);
  }

  /** Signs a request, with the names given and not with those it asks for. */
  async signCsr(csrPem: string, names: JsonGeneralName[], validity = validNow()): Promise<string> {
    const csr = new Pkcs10CertificateRequest(csrPem);
    if (!(await csr.verify())) throw new Error('the request is not signed by its key');
    const key = await csr.publicKey.export();
    const leaf = await this.#issue(key, 'CN=leaf', validity, [new SubjectAlternativeNameExtension(names)]);
    return `${leaf.toString('pem')}\n`;
  }

  /** A key and certificate of its own. */
  async issue(
    names: JsonGeneralName[],
    validity = validNow(),
    extra: Extension[] = [],
  ): Promise<{ certPem: string; keyPem: string; certificate: X509Certificate }> {
    const keys = await newKeys();
    const extensions = [...(names.length > 0 ? [new SubjectAlternativeNameExtension(names)] : []), ...extra];
    const certificate = await this.#issue(keys.publicKey, 'CN=leaf', validity, extensions);
    return {
      certPem: `${certificate.toString('pem')}\n`,
      keyPem: KeyObject.from(keys.privateKey).export({ type: 'pkcs8', format: 'pem' }).toString(),
      certificate,
    };
  }

  #issue(publicKey: KeyPair['publicKey'], subject: string, validity: Validity, extensions: Extension[]) {
    return X509CertificateGenerator.create({
      serialNumber: nextSerial(),
      subject,
      issuer: this.#name,
      ...validity,
      publicKey,
      signingKey: this.#keys.privateKey,
      signingAlgorithm: ALGORITHM,
      extensions,
    });
  }
}

function nextSerial(): string {
  return (serial++).toString(16).padStart(16, '1');
}
