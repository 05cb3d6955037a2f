import { isIP } from 'node:net';
import { networkInterfaces } from 'node:os';
import type { SecureContextOptions } from 'node:tls';
import { createPrivateKey } from 'node:crypto';
import * as grpc from '@grpc/grpc-js';
import type { Logger } from 'pino';
import { issueLeaf } from './issue.ts';
import type { Authority } from './root.ts';
import { P256, type x509 } from './x509.ts';

export const CONTROLLER_DNS_NAME = 'loam-controller.loam-system.svc';

const TTL_S = 24 * 3600;
const RETRY_MS = 60_000;
const UNSPECIFIED = ['0.0.0.0', '::'];

/** gRPC server credentials whose certificate can be replaced while serving. */
class RenewableCredentials extends grpc.ServerCredentials {
  constructor(context: SecureContextOptions) {
    // Connections that are up keep their keys; new ones see the new certificate.
    super({ minVersion: 'TLSv1.2' }, context);
  }

  renew(context: SecureContextOptions): void {
    this.updateSecureContextOptions(context);
  }

  override _equals(other: grpc.ServerCredentials): boolean {
    return this === other;
  }
}

/** The controller's own certificate, from the mesh's root, renewed at half its life for as long as the process runs. */
export class ServingCertificate implements Disposable {
  readonly credentials: grpc.ServerCredentials;
  readonly #renewable: RenewableCredentials;
  #authority: Authority;
  readonly #names: x509.JsonGeneralNames;
  readonly #log: Logger;
  #timer: NodeJS.Timeout | undefined;

  private constructor(
    authority: Authority,
    names: x509.JsonGeneralNames,
    log: Logger,
    first: { context: SecureContextOptions; notAfter: Date },
  ) {
    this.#authority = authority;
    this.#names = names;
    this.#log = log;
    this.#renewable = new RenewableCredentials(first.context);
    this.credentials = this.#renewable;
    this.#schedule(first.notAfter);
  }

  /**
   * @param host the address listened on; an unspecified one stands for all addresses of the machine
   * @param dnsNames by which clients come
   */
  static async make(
    authority: Authority,
    { host, dnsNames }: { readonly host: string; readonly dnsNames: readonly string[] },
    log: Logger,
  ): Promise<ServingCertificate> {
    const names: x509.JsonGeneralNames = [
      ...dnsNames.map((value) => ({ type: 'dns' as const, value })),
      ...addressesOf(host).map((value) => ({ type: 'ip' as const, value })),
    ];
    return new ServingCertificate(authority, names, log, await makeContext(authority, names));
  }

  [Symbol.dispose](): void {
    clearTimeout(this.#timer);
  }

  /**
   * Replaces the certificate now.
   *
   * @param authority another one than before
   */
  async renew(authority = this.#authority): Promise<void> {
    this.#authority = authority;
    try {
      const { context, notAfter } = await makeContext(authority, this.#names);
      // Overtaken by a change of the authority.
      if (this.#authority !== authority) return;
      this.#renewable.renew(context);
      this.#schedule(notAfter);
    } catch (error) {
      this.#log.error({ err: error }, 'the serving certificate cannot be renewed');
      this.#scheduleIn(RETRY_MS);
    }
  }

  #schedule(notAfter: Date): void {
    this.#scheduleIn(Math.max(RETRY_MS, (notAfter.getTime() - Date.now()) / 2));
  }

  #scheduleIn(delayMs: number): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => void this.renew(), delayMs);
    this.#timer.unref();
  }
}

function addressesOf(host: string): string[] {
  if (!UNSPECIFIED.includes(host)) return isIP(host) === 0 ? [] : [host];
  return Object.values(networkInterfaces())
    .flatMap((list) => list ?? [])
    .filter(({ scopeid }) => scopeid === undefined || scopeid === 0)
    .map(({ address }) => address);
}

async function makeContext(
  authority: Authority,
  names: x509.JsonGeneralNames,
): Promise<{ context: SecureContextOptions; notAfter: Date }> {
  const keys = await crypto.subtle.generateKey(P256, true, ['sign', 'verify']);
  const leaf = await issueLeaf(authority, { publicKey: keys.publicKey, names, ttlS: TTL_S });
  const der = Buffer.from(await crypto.subtle.exportKey('pkcs8', keys.privateKey));
  const key = createPrivateKey({ key: der, format: 'der', type: 'pkcs8' }).export({
    type: 'pkcs8',
    format: 'pem',
  });
  // The root itself need not be sent: clients have it.
  const intermediates = authority.chain.slice(0, -1);
  return { context: { cert: [leaf.pem, ...intermediates].join(''), key }, notAfter: leaf.notAfter };
}
