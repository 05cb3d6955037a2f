import { once } from 'node:events';
import http2 from 'node:http2';
import net, { type AddressInfo } from 'node:net';
import tls from 'node:tls';
import type { CertificateBundle } from '../../../lib/mesh/identity/certificate-bundle.ts';
import { HboneServer } from '../../../ztunnel/proxy/hbone-server.ts';
import type { Limits } from '../../../ztunnel/proxy/mesh.ts';
import { Pod } from '../../../ztunnel/proxy/pod.ts';
import { TestCa } from '../../unit/ztunnel/support/certificates.ts';
import { LoopbackPod, toyMesh, toyWorkload, type ToyMesh } from '../../unit/ztunnel/support/toy-mesh.ts';

const SERVER = 'spiffe://cluster.local/ns/default/sa/server';

/** The HBONE side of one pod of a ztunnel, in this process, before an application that echoes. */
export class OwnZtunnel {
  readonly ca: TestCa;
  readonly mesh: ToyMesh;
  readonly port: number;
  readonly appPort: number;
  readonly server: HboneServer;
  readonly #servers: readonly net.Server[];
  readonly #open = new Set<{ destroy(): unknown }>();

  private constructor(parts: {
    ca: TestCa;
    mesh: ToyMesh;
    port: number;
    appPort: number;
    server: HboneServer;
    servers: readonly net.Server[];
  }) {
    this.ca = parts.ca;
    this.mesh = parts.mesh;
    this.port = parts.port;
    this.appPort = parts.appPort;
    this.server = parts.server;
    this.#servers = parts.servers;
  }

  static async start(limits: Partial<Limits> = {}): Promise<OwnZtunnel> {
    const ca = await TestCa.create();
    const plain = toyMesh();
    const mesh: ToyMesh = {
      ...plain,
      limits: { ...plain.limits, tunnelsPerPod: 2_000, connectionsPerPod: 10_000, ...limits },
    };
    mesh.workloads.apply({ upserts: [toyWorkload('server', '127.0.0.1')], removed: [] });
    mesh.certificates.put(await ca.issue(SERVER));
    const info = { uid: 'uid-server', name: 'server', namespace: 'default', serviceAccount: 'server' };
    const server = new HboneServer(new Pod(info, mesh, new LoopbackPod()));
    const listener = net.createServer(
      { allowHalfOpen: true, pauseOnConnect: true, noDelay: true },
      (socket) => void server.accept(socket),
    );
    const application = net.createServer({ allowHalfOpen: true }, (socket) => {
      socket.on('error', () => undefined);
      socket.pipe(socket);
    });
    const [port, appPort] = [await listening(listener), await listening(application)];
    return new OwnZtunnel({ ca, mesh, port, appPort, server, servers: [listener, application] });
  }

  /** The certificate of a client of namespace default. */
  client(serviceAccount = 'client'): Promise<CertificateBundle> {
    return this.ca.issue(`spiffe://cluster.local/ns/default/sa/${serviceAccount}`);
  }

  get authority(): string {
    return `127.0.0.1:${this.appPort}`;
  }

  /** TLS and nothing more. */
  tls(bundle: CertificateBundle, more: DialOptions = {}): tls.TLSSocket {
    return this.#keep(dialTls(this.port, this.ca, bundle, more));
  }

  /** A client that keeps to the protocol. */
  session(bundle: CertificateBundle): http2.ClientHttp2Session {
    const session = http2.connect(`https://127.0.0.1:${this.port}`, {
      createConnection: () => dialTls(this.port, this.ca, bundle),
    });
    session.on('error', () => undefined);
    return this.#keep(session);
  }

  close(): void {
    for (const each of this.#open) each.destroy();
    this.server.destroy();
    for (const each of this.#servers) each.close();
  }

  #keep<T extends { destroy(): unknown }>(each: T): T {
    this.#open.add(each);
    return each;
  }
}

/** Beside what TLS knows, the own address. */
export type DialOptions = tls.ConnectionOptions & { readonly localAddress?: string };

/** Mutual TLS to an HBONE port of the loopback; errors are nobody's concern. */
export function dialTls(
  port: number,
  ca: TestCa,
  bundle: CertificateBundle | undefined,
  more: DialOptions = {},
): tls.TLSSocket {
  const socket = tls.connect({
    port,
    host: '127.0.0.1',
    ca: ca.root.toString('pem'),
    ...(bundle && { cert: bundle.certChainPem, key: bundle.keyPem }),
    ALPNProtocols: ['h2'],
    checkServerIdentity: () => undefined,
    ...more,
  });
  socket.on('error', () => undefined);
  return socket;
}

async function listening(server: net.Server): Promise<number> {
  // As an agent's listeners; Node's own 511 would make silent connections wait.
  server.listen({ port: 0, host: '127.0.0.1', backlog: 4_096 });
  await once(server, 'listening');
  return (server.address() as AddressInfo).port;
}
