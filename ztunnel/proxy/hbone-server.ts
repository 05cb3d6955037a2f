import http2 from 'node:http2';
import type { Socket } from 'node:net';
import type tls from 'node:tls';
import { errorText } from '../../lib/loam-error.ts';
import type { Identity } from '../../lib/spiffe.ts';
import type { CertificateBundle } from '../../lib/mesh/identity/certificate-bundle.ts';
import { hboneServerTls, inboundPeer } from '../../lib/mesh/identity/tls-context.ts';
import { admit } from './admission.ts';
import {
  CONNECTION_WINDOW_BYTES,
  keepSessionAlive,
  SERVER_SESSION_OPTIONS,
} from '../../lib/mesh/hbone/h2-settings.ts';
import { parseAuthority, plainIp, trueClient, type HostPort } from '../../lib/mesh/hbone/hbone-headers.ts';
import { beginInbound, connectApplication, inboundFlow, type InboundRequest } from './inbound.ts';
import { destroyOnError } from '../../lib/mesh/hbone/hbone-tunnel.ts';
import { ILLEGAL_PORTS } from './mesh.ts';
import type { Pod } from './pod.ts';
import { ProxyError, toProxyError } from '../../lib/mesh/hbone/proxy-error.ts';
import { resetStream } from '../../lib/mesh/hbone/stream-reset.ts';

const HANDSHAKE_TIMEOUT_MS = 10_000;
/** Longest traceparent that is taken over into the log (W3C: 55 characters in version 00). */
const MAX_TRACE_LENGTH = 64;

/** The other end of one HBONE connection. */
interface Peer {
  readonly identity: Identity;
  readonly address: HostPort;
  /** The pod's address to which it connected. */
  readonly localIp: string;
}

/** One pod's HBONE server: mutual TLS with the pod's own certificate, then CONNECT streams to its application. */
export class HboneServer {
  readonly #pod: Pod;
  readonly #sessions = new Set<http2.ServerHttp2Session>();
  readonly #accepted = new Set<Socket>();
  /** Those of them that have not proven who they are, oldest first, by the peer's address. */
  readonly #unproven = new Map<string, Socket>();
  readonly #stopWatching: () => void;
  #server: http2.Http2SecureServer | undefined;
  #closed = false;

  constructor(pod: Pod) {
    this.#pod = pod;
    this.#stopWatching = pod.mesh.certificates.onChange((identity) => {
      const renewed = identity === pod.identityUri ? pod.mesh.certificates.valid(identity) : undefined;
      if (renewed !== undefined) this.#server?.setSecureContext(hboneServerTls(renewed.bundle));
    });
  }

  /** Serves one connection that the pod's HBONE listener accepted (paused). */
  async accept(socket: Socket): Promise<void> {
    const { mesh, identityUri } = this.#pod;
    socket.on('error', () => undefined);
    // As at the other end: a tunnel is over when its peer closes one half.
    socket.allowHalfOpen = false;
    if (!this.#makeRoom()) {
      mesh.metrics.refused('too-many-tunnels');
      socket.resetAndDestroy();
      return;
    }
    const peer = addressKey(socket);
    this.#accepted.add(socket);
    this.#unproven.set(peer, socket);
    socket.once('close', () => {
      this.#accepted.delete(socket);
      if (this.#unproven.get(peer) === socket) this.#unproven.delete(peer);
    });
    try {
      // Asked for each connection, so that an expired certificate is not served on.
      const { bundle } = await mesh.certificates.whenValid(identityUri, mesh.limits.stateWaitMs);
      this.#server ??= this.#makeServer(bundle);
      if (this.#closed || socket.destroyed) socket.resetAndDestroy();
      else this.#server?.emit('connection', socket);
    } catch (error) {
      const failure = toProxyError(error);
      mesh.metrics.refused(failure.code);
      mesh.log.warn('tunnel refused', {
        pod: this.#pod.info.uid,
        code: failure.code,
        error: errorText(failure),
      });
      socket.resetAndDestroy();
    }
  }

  /** GOAWAY on every connection; each closes when its last stream ends. */
  drain(): void {
    for (const session of this.#sessions) session.close();
  }

  /** Cuts everything. */
  destroy(): void {
    this.#closed = true;
    this.#stopWatching();
    for (const session of this.#sessions) session.destroy();
    for (const socket of this.#accepted) socket.destroy();
  }

  /** At the bound, the connection goes that has said nothing for longest: anybody can open those. */
  #makeRoom(): boolean {
    const { mesh } = this.#pod;
    if (this.#accepted.size < mesh.limits.tunnelsPerPod) return true;
    const [oldest] = this.#unproven;
    if (oldest === undefined) return false;
    const [peer, socket] = oldest;
    mesh.metrics.refused('handshake-crowded-out');
    this.#unproven.delete(peer);
    this.#accepted.delete(socket);
    socket.resetAndDestroy();
    return true;
  }

  #makeServer(bundle: CertificateBundle): http2.Http2SecureServer {
    const server = http2.createSecureServer({
      ...hboneServerTls(bundle),
      ...SERVER_SESSION_OPTIONS,
      handshakeTimeout: HANDSHAKE_TIMEOUT_MS,
    });
    server.on('unknownProtocol', (socket: tls.TLSSocket) => socket.destroy());
    server.on('tlsClientError', (error, socket) => {
      this.#pod.mesh.metrics.refused('TLS_FAILURE');
      this.#pod.mesh.log.debug('TLS handshake failed', {
        pod: this.#pod.info.uid,
        peer: socket.remoteAddress,
        error: error.message,
      });
      socket.destroy();
    });
    server.on('secureConnection', destroyOnError);
    server.on('sessionError', () => undefined);
    server.on('session', (session) => this.#onSession(session));
    return server;
  }

  #onSession(session: http2.ServerHttp2Session): void {
    let peer: Peer;
    try {
      const socket = session.socket as tls.TLSSocket;
      peer = readPeer(socket, this.#pod.mesh.trustDomain);
      this.#unproven.delete(addressKey(socket));
    } catch (error) {
      this.#pod.mesh.metrics.refused('PEER_IDENTITY');
      this.#pod.mesh.log.warn('tunnel refused', { pod: this.#pod.info.uid, error: errorText(error) });
      session.destroy();
      return;
    }
    this.#sessions.add(session);
    session.once('close', () => this.#sessions.delete(session));
    session.on('error', () => undefined);
    session.setLocalWindowSize(CONNECTION_WINDOW_BYTES);
    keepSessionAlive(session, () => session.destroy());
    session.on('stream', (stream, headers) => void this.#serve(peer, stream, headers));
  }

  /** Never rejects. */
  async #serve(
    peer: Peer,
    stream: http2.ServerHttp2Stream,
    headers: http2.IncomingHttpHeaders,
  ): Promise<void> {
    stream.on('error', () => undefined);
    const target = headers[':method'] === 'CONNECT' ? parseAuthority(headers[':authority']) : undefined;
    // Another address than the one that accepted, or a port of the mesh itself, is none of this pod's to serve.
    if (target?.ip !== peer.localIp || ILLEGAL_PORTS.has(target.port)) {
      this.#pod.mesh.metrics.refused('BAD_REQUEST');
      answer(stream, 400);
      return;
    }
    const request: InboundRequest = {
      client: trueClient(peer.address, headers['forwarded']),
      target,
      identity: peer.identity,
    };
    const connection = beginInbound(this.#pod, request);
    const trace = headers['traceparent'];
    if (typeof trace === 'string' && trace.length <= MAX_TRACE_LENGTH) connection.trace = trace;
    connection.onTerminate = () => resetStream(stream);
    try {
      this.#pod.requireRoom();
      await admit(connection, this.#pod, {
        sourceIdentity: peer.identity,
        sourceIp: peer.address.ip,
        destIp: target.ip,
        destPort: target.port,
      });
      if (stream.destroyed || stream.closed) throw new ProxyError('STREAM_REFUSED', 'the client gave up');
      connection.flow = inboundFlow(this.#pod, request);
      const application = await connectApplication(this.#pod, request);
      if (stream.destroyed) application.resetAndDestroy();
      connection.onTerminate = () => {
        resetStream(stream);
        resetStream(application);
      };
      connection.opened();
      if (!stream.destroyed && !stream.closed) stream.respond({ ':status': 200 });
      await connection.carry(stream, application);
    } catch (error) {
      const failure = toProxyError(error);
      answer(stream, statusOf(failure));
      connection.fail(failure);
    }
  }
}

function addressKey(socket: Socket): string {
  return `${socket.remoteAddress}:${socket.remotePort}>${socket.localAddress}`;
}

/** @throws MeshError PEER_IDENTITY */
function readPeer(socket: tls.TLSSocket, trustDomain: string): Peer {
  return {
    identity: inboundPeer(socket, trustDomain),
    address: { ip: plainIp(socket.remoteAddress), port: socket.remotePort ?? 0 },
    localIp: plainIp(socket.localAddress),
  };
}

function statusOf(error: ProxyError): number {
  return error.code === 'POLICY_DENIED' || error.code === 'POLICY_CHANGED' ? 401 : 503;
}

/** A status without body; nothing when the stream is gone. */
function answer(stream: http2.ServerHttp2Stream, status: number): void {
  if (stream.destroyed || stream.closed || stream.headersSent) return;
  stream.respond({ ':status': status }, { endStream: true });
}
