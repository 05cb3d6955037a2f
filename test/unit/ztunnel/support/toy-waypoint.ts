import { once } from 'node:events';
import http2 from 'node:http2';
import net from 'node:net';
import type { CertificateBundle } from '../../../../lib/mesh/identity/certificate-bundle.ts';

/** An HBONE server on loopback that echoes each stream and keeps what it was told; it decides nothing. */
export class ToyWaypoint {
  /** The header of each CONNECT, oldest first. */
  readonly connects: http2.IncomingHttpHeaders[] = [];
  /** Its answer to the next ones; other than 200, without a body. */
  status = 200;
  readonly #server: http2.Http2SecureServer;
  readonly #sessions = new Set<http2.ServerHttp2Session>();

  constructor(bundle: CertificateBundle) {
    this.#server = http2.createSecureServer({
      cert: bundle.certChainPem,
      key: bundle.keyPem,
      ca: bundle.rootsPem,
      requestCert: true,
      minVersion: 'TLSv1.3',
    });
    this.#server.on('session', (session) => {
      this.#sessions.add(session);
      session.once('close', () => this.#sessions.delete(session));
      session.on('error', () => undefined);
    });
    this.#server.on('stream', (stream: http2.ServerHttp2Stream, headers: http2.IncomingHttpHeaders) => {
      this.connects.push(headers);
      stream.on('error', () => undefined);
      stream.respond({ ':status': this.status }, { endStream: this.status !== 200 });
      if (this.status === 200) stream.pipe(stream);
    });
  }

  /** @returns its port */
  async listen(): Promise<number> {
    this.#server.listen(0, '127.0.0.1');
    await once(this.#server, 'listening');
    return (this.#server.address() as net.AddressInfo).port;
  }

  get sessions(): number {
    return this.#sessions.size;
  }

  close(): void {
    for (const session of this.#sessions) session.destroy();
    this.#server.close();
  }
}

/** A port of loopback on which nobody listens. */
export async function closedPort(): Promise<number> {
  const server = net.createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as net.AddressInfo;
  server.close();
  await once(server, 'close');
  return port;
}
