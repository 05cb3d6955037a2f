import tls from 'node:tls';
import { spiffeUri } from '../../spiffe.ts';
import type { CertificateBundle } from '../identity/certificate-bundle.ts';
import { hboneServerTls } from '../identity/tls-context.ts';
import { ProxyError } from './proxy-error.ts';

/** A certificate, ready for use at both ends of a tunnel. */
export interface Certificate {
  readonly bundle: CertificateBundle;
  /** For {@link hboneClientTls}: parsed once and not for each connection. */
  readonly clientContext: tls.SecureContext;
}

/** The worker's copies of the certificates of this node's identities, by SPIFFE URI. */
export class CertificateStore {
  readonly #certificates = new Map<string, Certificate>();
  readonly #listeners = new Set<(identity: string) => void>();
  readonly #onWanted: (identity: string) => void;

  /** @param onWanted called when a connection begins to wait for a certificate */
  constructor(onWanted: (identity: string) => void = () => undefined) {
    this.#onWanted = onWanted;
  }

  /** Adds or renews. @throws Error when OpenSSL cannot use it */
  put(bundle: CertificateBundle): void {
    const identity = spiffeUri(bundle.identity);
    const clientContext = tls.createSecureContext(hboneServerTls(bundle));
    this.#certificates.set(identity, { bundle, clientContext });
    for (const listener of [...this.#listeners]) listener(identity);
  }

  remove(identity: string): void {
    this.#certificates.delete(identity);
  }

  /** Calls back with the identity after each {@link put}; returns how to stop that. */
  onChange(listener: (identity: string) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** A certificate serves until it expires, whatever became of its renewal, and not a moment longer. */
  valid(identity: string): Certificate | undefined {
    const found = this.#certificates.get(identity);
    const now = Date.now();
    return found !== undefined && found.bundle.notBefore <= now && now < found.bundle.notAfter
      ? found
      : undefined;
  }

  /** Waits for a valid one. @throws ProxyError NO_CERTIFICATE */
  async whenValid(identity: string, timeoutMs: number): Promise<Certificate> {
    return this.valid(identity) ?? this.#wait(identity, timeoutMs);
  }

  #wait(identity: string, timeoutMs: number): Promise<Certificate> {
    this.#onWanted(identity);
    return new Promise((resolve, reject) => {
      const stop = this.onChange((changed) => {
        const found = changed === identity ? this.valid(identity) : undefined;
        if (found === undefined) return;
        clearTimeout(timer);
        stop();
        resolve(found);
      });
      const timer = setTimeout(() => {
        stop();
        const message = `no valid certificate for ${identity} came in ${timeoutMs / 1000} s: see certificates in /config_dump`;
        reject(new ProxyError('NO_CERTIFICATE', message));
      }, timeoutMs);
    });
  }
}
