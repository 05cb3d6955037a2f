import net from 'node:net';
import type { Duplex } from 'node:stream';
import type { Dialer } from '../../lib/mesh/hbone/dialer.ts';
import { whenConnected } from '../../lib/mesh/hbone/dialer.ts';
import type { CertificateStore } from '../../lib/mesh/hbone/certificate-store.ts';
import { hostPortText, type HostPort } from '../../lib/mesh/hbone/host-port.ts';
import type { Identity } from '../../lib/spiffe.ts';
import { forwardedHeader } from '../../lib/mesh/hbone/forwarded.ts';
import { newTraceparent } from '../../lib/mesh/hbone/hbone-headers.ts';
import type { Path } from '../../lib/mesh/waypoint/backend-endpoints.ts';
import type { HbonePool } from '../../lib/mesh/hbone/hbone-pool.ts';
import { ProxyError } from '../../lib/mesh/hbone/proxy-error.ts';
import { resetStream } from '../../lib/mesh/hbone/stream-reset.ts';

const CERTIFICATE_WAIT_MS = 5_000;

/** What a tunnel's far end is told about the client; only for streams that carry one client alone. */
export interface ToldClient {
  readonly address: HostPort;
  readonly identity: Identity | undefined;
}

/** Dials from where the waypoint itself runs. */
export const OWN_NETWORK: Dialer = {
  dialRemote: ({ ip, port }) =>
    net.connect({ host: ip, port, allowHalfOpen: true, noDelay: true, keepAlive: true }),
};

export interface EndpointDialerOptions {
  readonly pool: HbonePool;
  readonly certificates: CertificateStore;
  readonly identityUri: string;
  /** Names this process in tunnels' keys. */
  readonly ownUid: string;
  readonly baggage: string;
}

/** Makes byte streams to endpoints, with the waypoint's own identity. */
export class EndpointDialer {
  readonly #options: EndpointDialerOptions;

  constructor(options: EndpointDialerOptions) {
    this.#options = options;
  }

  /**
   * @param service host name of the Service, for the far end's log
   * @param timeoutMs until the stream is open
   * @throws ProxyError
   */
  async open(
    path: Path,
    service: string | undefined,
    timeoutMs: number,
    client?: ToldClient,
  ): Promise<Duplex> {
    const opening =
      path.via === 'direct' ? this.#direct(path.target, timeoutMs) : this.#tunnelled(path, service, client);
    return withTimeout(opening, timeoutMs, path.target);
  }

  async #direct(target: HostPort, timeoutMs: number): Promise<Duplex> {
    const socket = OWN_NETWORK.dialRemote(target);
    await whenConnected(socket, timeoutMs, target);
    return socket;
  }

  #tunnelled(
    path: Extract<Path, { via: 'hbone' }>,
    service: string | undefined,
    client: ToldClient | undefined,
  ): Promise<Duplex> {
    const { pool, certificates, identityUri, ownUid, baggage } = this.#options;
    const forwarded = forwardedFor(service, client);
    return pool.open(
      {
        sourcePodUid: ownUid,
        sourceIdentity: identityUri,
        destinationUid: path.tunnelUid,
        address: path.tunnel,
        expectedIdentities: path.expectedIdentities,
      },
      {
        sockets: OWN_NETWORK,
        certificate: () => certificates.whenValid(identityUri, CERTIFICATE_WAIT_MS),
      },
      {
        ':authority': hostPortText(path.target),
        baggage,
        traceparent: newTraceparent(),
        ...(forwarded !== undefined && { forwarded }),
      },
    );
  }
}

/** For pooled connections of many clients only the Service is told. */
function forwardedFor(service: string | undefined, client: ToldClient | undefined): string | undefined {
  if (client !== undefined) return forwardedHeader(client.address, service, client.identity);
  return service === undefined ? undefined : `host=${service}`;
}

/** What arrives after the time is over is reset. */
function withTimeout(opening: Promise<Duplex>, timeoutMs: number, target: HostPort): Promise<Duplex> {
  return new Promise((resolve, reject) => {
    let late = false;
    const timer = setTimeout(() => {
      late = true;
      reject(
        new ProxyError('CONNECT_TIMEOUT', `no connection to ${hostPortText(target)} in ${timeoutMs} ms`),
      );
    }, timeoutMs);
    opening.then(
      (stream) => {
        clearTimeout(timer);
        if (late) {
          stream.on('error', () => undefined);
          resetStream(stream);
        } else resolve(stream);
      },
      (error: Error) => {
        clearTimeout(timer);
        reject(error);
      },
    );
  });
}
