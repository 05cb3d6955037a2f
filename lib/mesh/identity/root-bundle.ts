import type { X509Certificate } from 'node:crypto';
import { parseCertificates } from './certificate-chain.ts';

/** More roots than any rotation has at one time; the ones needed longest are kept. */
const MAX_DELIVERED_ROOTS = 32;

/**
 * The roots that this node trusts: those of the file, and every root that the CA delivered, for as long as
 * a certificate that came with it is valid. So old and new overlap while peers change over, and an old one goes by itself.
 */
export class RootBundle {
  #fromFile: readonly X509Certificate[] = [];
  /** By fingerprint; `until` in milliseconds since the epoch. */
  readonly #delivered = new Map<string, { certificate: X509Certificate; until: number }>();

  /**
   * @returns whether a root that was in the file is not in it any more
   * @throws MeshError CERTIFICATE_INVALID; the former content then stays
   */
  setFile(pem: string): boolean {
    const before = this.#fromFile;
    this.#fromFile = parseCertificates(pem);
    const now = new Set(this.#fromFile.map(({ fingerprint256 }) => fingerprint256));
    return before.some(({ fingerprint256 }) => !now.has(fingerprint256));
  }

  /**
   * Whether a chain ends at a root of the file.
   *
   * @param chain from the leaf upwards, without the root
   */
  isOfFile(chain: readonly X509Certificate[]): boolean {
    const last = chain.at(-1);
    return this.#fromFile.some((root) => last?.checkIssued(root) === true && last.verify(root.publicKey));
  }

  /** @param until when the certificate that came with these roots ends, milliseconds since the epoch */
  addDelivered(roots: readonly X509Certificate[], until: number): void {
    for (const certificate of roots) {
      const key = certificate.fingerprint256;
      const known = this.#delivered.get(key);
      this.#delivered.set(key, { certificate, until: Math.max(until, known?.until ?? 0) });
    }
    if (this.#delivered.size <= MAX_DELIVERED_ROOTS) return;
    const byEnd = [...this.#delivered].sort(([, a], [, b]) => a.until - b.until);
    for (const [key] of byEnd.slice(0, byEnd.length - MAX_DELIVERED_ROOTS)) this.#delivered.delete(key);
  }

  /** The roots trusted at that time, each once. */
  certificates(now: number): readonly X509Certificate[] {
    const trusted = new Map(this.#fromFile.map((c) => [c.fingerprint256, c]));
    for (const [key, { certificate, until }] of this.#delivered) {
      if (until <= now) this.#delivered.delete(key);
      else trusted.set(key, certificate);
    }
    return [...trusted.values()].filter((c) => now < c.validToDate.getTime());
  }

  /** As {@link certificates}, in PEM, in an order that depends only on which they are. */
  pem(now: number): string {
    const sorted = [...this.certificates(now)].sort((a, b) => (a.fingerprint256 < b.fingerprint256 ? -1 : 1));
    return sorted.map((c) => c.toString()).join('');
  }
}
