import type http2 from 'node:http2';
import net from 'node:net';
import { once } from 'node:events';
import type { CertificateBundle } from '../../../../lib/mesh/identity/certificate-bundle.ts';
import { CertificateStore } from '../../../../lib/mesh/hbone/certificate-store.ts';
import { HboneAcceptor } from '../../../../lib/mesh/hbone/hbone-acceptor.ts';
import { parseAuthority } from '../../../../lib/mesh/hbone/hbone-headers.ts';
import { Relay } from '../../../../lib/mesh/hbone/relay.ts';
import { spiffeUri } from '../../../../lib/spiffe.ts';

/** A pod with a tunnel at port 15008 of its own loopback address, which carries to applications at that address. */
export class ToyPod {
  /** The head of each CONNECT, oldest first. */
  readonly connects: http2.IncomingHttpHeaders[] = [];
  readonly #acceptor: HboneAcceptor;
  readonly #server: net.Server;

  private constructor(bundle: CertificateBundle) {
    const certificates = new CertificateStore();
    certificates.put(bundle);
    this.#acceptor = new HboneAcceptor({
      certificates,
      identityUri: spiffeUri(bundle.identity),
      trustDomain: 'cluster.local',
      maxTunnels: 100,
      certificateWaitMs: 1_000,
      onRefused: () => undefined,
      log: () => undefined,
      onStream: (_peer, stream, headers) => this.#serve(stream, headers),
    });
    this.#server = net.createServer({ allowHalfOpen: true, pauseOnConnect: true }, (socket) => {
      void this.#acceptor.accept(socket);
    });
  }

  static async start(ip: string, bundle: CertificateBundle): Promise<ToyPod> {
    const pod = new ToyPod(bundle);
    pod.#server.listen(15008, ip);
    await once(pod.#server, 'listening');
    return pod;
  }

  close(): void {
    this.#server.close();
    this.#acceptor.destroy();
  }

  #serve(stream: http2.ServerHttp2Stream, headers: http2.IncomingHttpHeaders): void {
    this.connects.push(headers);
    const target = parseAuthority(headers[':authority']);
    if (target === undefined) {
      stream.respond({ ':status': 400 }, { endStream: true });
      return;
    }
    const socket = net.connect({ host: target.ip, port: target.port, allowHalfOpen: true, noDelay: true });
    const failed = (): void => {
      if (!stream.destroyed) stream.respond({ ':status': 503 }, { endStream: true });
    };
    socket.once('error', failed);
    socket.once('connect', () => {
      socket.off('error', failed);
      if (stream.destroyed) {
        socket.destroy();
        return;
      }
      stream.respond({ ':status': 200 });
      new Relay(stream, socket);
    });
  }
}
