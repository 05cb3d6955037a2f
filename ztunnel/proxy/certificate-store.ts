import tls from 'node:tls';
import { constants } from 'node:crypto';
import { ProxyError } from './proxy-error.ts';
import { TLS_CIPHERS } from './h2-settings.ts';

/** A workload certificate with its key and the roots that peers are checked against; all PEM. */
export interface CertificateMaterial {
  readonly certChainPem: string;
  readonly keyPem: string;
  readonly rootsPem: string;
  /** Milliseconds since the epoch. */
  readonly notAfterMs: number;
}

/** What both ends of HBONE ask of TLS: 1.3, AES-GCM, and no ticket, since resumption would skip the peer's checks. */
function secureOptions(material: CertificateMaterial): tls.SecureContextOptions {
  return {
    cert: material.certChainPem,
    key: material.keyPem,
    ca: material.rootsPem,
    minVersion: 'TLSv1.3',
    maxVersion: 'TLSv1.3',
    ciphers: TLS_CIPHERS,
    secureOptions: constants.SSL_OP_NO_TICKET,
  };
}

interface Entry {
  readonly material: CertificateMaterial;
  readonly client: tls.SecureContext;
  readonly server: tls.SecureContextOptions;
}

/** The worker's copies of the certificates of this node's identities, by SPIFFE URI. */
export class CertificateStore {
  readonly #entries = new Map<string, Entry>();
  readonly #listeners = new Set<(identity: string) => void>();

  /** Adds or renews. @throws Error when OpenSSL cannot use the material */
  put(identity: string, material: CertificateMaterial): void {
    const server = secureOptions(material);
    this.#entries.set(identity, { material, server, client: tls.createSecureContext(server) });
    for (const listener of this.#listeners) listener(identity);
  }

  remove(identity: string): void {
    this.#entries.delete(identity);
  }

  /** Calls back with the identity after each {@link put}; returns how to stop that. */
  onChange(listener: (identity: string) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  client(identity: string): tls.SecureContext | undefined {
    return this.#valid(identity)?.client;
  }

  server(identity: string): tls.SecureContextOptions | undefined {
    return this.#valid(identity)?.server;
  }

  /** Waits for a valid certificate. @throws ProxyError NO_CERTIFICATE */
  async whenClient(identity: string, timeoutMs: number): Promise<tls.SecureContext> {
    return this.client(identity) ?? (await this.#wait(identity, timeoutMs)).client;
  }

  /** The same, of the server side. @throws ProxyError NO_CERTIFICATE */
  async whenServer(identity: string, timeoutMs: number): Promise<tls.SecureContextOptions> {
    return this.server(identity) ?? (await this.#wait(identity, timeoutMs)).server;
  }

  /** A certificate serves until it expires, whatever became of its renewal, and not a moment longer. */
  #valid(identity: string): Entry | undefined {
    const entry = this.#entries.get(identity);
    return entry !== undefined && entry.material.notAfterMs > Date.now() ? entry : undefined;
  }

  #wait(identity: string, timeoutMs: number): Promise<Entry> {
    return new Promise((resolve, reject) => {
      const stop = this.onChange((changed) => {
        const entry = changed === identity ? this.#valid(identity) : undefined;
        if (entry === undefined) return;
        clearTimeout(timer);
        stop();
        resolve(entry);
      });
      const timer = setTimeout(() => {
        stop();
        const message = `no valid certificate for ${identity} came in ${timeoutMs / 1000} s: see certificates in /config_dump`;
        reject(new ProxyError('NO_CERTIFICATE', message));
      }, timeoutMs);
    });
  }
}
