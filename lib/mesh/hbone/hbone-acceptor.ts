import http2 from 'node:http2';
import type { Socket } from 'node:net';
import type tls from 'node:tls';
import { errorText } from '../../loam-error.ts';
import { spiffeUri, type Identity } from '../../spiffe.ts';
import type { CertificateBundle } from '../identity/certificate-bundle.ts';
import { hboneServerTls, inboundPeer } from '../identity/tls-context.ts';
import type { CertificateStore } from './certificate-store.ts';
import { HeadWatch } from './head-watch.ts';
import { CONNECTION_WINDOW_BYTES, keepSessionAlive, SERVER_SESSION_OPTIONS } from './h2-settings.ts';
import { plainIp, type HostPort } from './hbone-headers.ts';
import { destroyOnError } from './hbone-tunnel.ts';
import { PeerBudget } from './peer-budget.ts';
import { toProxyError } from './proxy-error.ts';
import { Shares } from './shares.ts';
import { StreamIntake } from './stream-intake.ts';
import { endSession } from './stream-reset.ts';
import { Turn } from './turn.ts';

const HANDSHAKE_TIMEOUT_MS = 10_000;
/**
 * A connection that was accepted just before a drain is not turned away before it carried anything: its peer would
 * find the next attempt turned away too, when the listener's other holders begin in this moment.
 */
const LATE_GOAWAY_MS = 1_000;

/**
 * What a head that cannot be taken costs its sender's budget, and each so many bytes of its connection besides: heads are short here,
 * and reading a long one takes time. One bad head among the bytes of an upload is let pass for so much.
 */
const BAD_HEAD = 10;
const BYTES_OF_BAD_HEADS = 64;
const MOST_FOR_ONE = 400;

/** The other end of one HBONE connection. */
export interface Peer {
  readonly identity: Identity;
  readonly address: HostPort;
  /** The own address to which it connected. */
  readonly localIp: string;
}

export interface HboneAcceptorOptions {
  readonly certificates: CertificateStore;
  /** Whose certificate is presented. */
  readonly identityUri: string;
  readonly trustDomain: string;
  /** Connections at once; no identity can have them all. */
  readonly maxTunnels: number;
  /** What peers may waste, where their owner counts more than streams that are reset at once. */
  readonly budget?: PeerBudget;
  readonly turn?: Turn;
  /** How long a connection waits for a certificate. */
  readonly certificateWaitMs: number;
  /** Counted: a connection was refused, with the reason's short name. */
  readonly onRefused: (reason: string) => void;
  readonly log: (level: 'debug' | 'warn', message: string, fields: Readonly<Record<string, unknown>>) => void;
  /** One CONNECT, or what a peer took for one. */
  readonly onStream: (
    peer: Peer,
    stream: http2.ServerHttp2Stream,
    headers: http2.IncomingHttpHeaders,
  ) => void;
}

/** The server's end of HBONE for one identity: mutual TLS, HTTP/2, and who the peer is. Streams are the owner's. */
export class HboneAcceptor {
  readonly #options: HboneAcceptorOptions;
  readonly #sessions = new Set<http2.ServerHttp2Session>();
  readonly #accepted = new Set<Socket>();
  /** Those of them that have not proven who they are, oldest first, by the peer's address. */
  readonly #unproven = new Map<string, Socket>();
  readonly #shares = new Shares();
  readonly #heads = new HeadWatch();
  readonly #budget: PeerBudget;
  readonly #turn: Turn;
  readonly #stopWatching: () => void;
  #proven = 0;
  #server: http2.Http2SecureServer | undefined;
  #draining = false;
  #closed = false;

  constructor(options: HboneAcceptorOptions) {
    this.#options = options;
    const { certificates, identityUri, turn = new Turn(), budget = new PeerBudget(turn) } = options;
    [this.#turn, this.#budget] = [turn, budget];
    this.#stopWatching = certificates.onChange((identity) => {
      const renewed = identity === identityUri ? certificates.valid(identity) : undefined;
      if (renewed !== undefined) this.#server?.setSecureContext(hboneServerTls(renewed.bundle));
    });
  }

  /** Connections open now. */
  get size(): number {
    return this.#accepted.size;
  }

  /** Serves one connection that a listener accepted (paused). Never rejects. */
  async accept(socket: Socket): Promise<void> {
    const { certificates, identityUri, certificateWaitMs, onRefused, log } = this.#options;
    socket.on('error', () => undefined);
    // As at the other end: a tunnel is over when its peer closes one half.
    socket.allowHalfOpen = false;
    const refusal = this.#budget.isSpent(plainIp(socket.remoteAddress))
      ? 'too-many-resets'
      : this.#makeRoom()
        ? undefined
        : 'too-many-tunnels';
    if (refusal !== undefined) {
      onRefused(refusal);
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
      const { bundle } = await certificates.whenValid(identityUri, certificateWaitMs);
      this.#server ??= this.#makeServer(bundle);
      if (this.#closed || socket.destroyed) socket.resetAndDestroy();
      else this.#server.emit('connection', socket);
    } catch (error) {
      const failure = toProxyError(error);
      onRefused(failure.code);
      log('warn', 'tunnel refused', { code: failure.code, error: errorText(failure) });
      socket.resetAndDestroy();
    }
  }

  /**
   * GOAWAY on every connection, and a second after its beginning on one that was being made; each closes when its last
   * stream ends. The listener is closed already, so that who comes again comes to another.
   */
  drain(): void {
    this.#draining = true;
    for (const session of this.#sessions) session.close();
  }

  /** Connections accepted from now on live as long as their peers like: the drain is over. */
  resume(): void {
    this.#draining = false;
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
    if (this.#accepted.size < this.#options.maxTunnels) return true;
    const [oldest] = this.#unproven;
    if (oldest === undefined) return false;
    const [peer, socket] = oldest;
    this.#options.onRefused('handshake-crowded-out');
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
      this.#options.onRefused('TLS_FAILURE');
      this.#options.log('debug', 'TLS handshake failed', {
        peer: plainIp(socket.remoteAddress),
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
      peer = readPeer(socket, this.#options.trustDomain);
      this.#unproven.delete(addressKey(socket));
    } catch (error) {
      this.#options.onRefused('PEER_IDENTITY');
      this.#options.log('warn', 'tunnel refused', { error: errorText(error) });
      session.destroy();
      return;
    }
    const identity = spiffeUri(peer.identity);
    // Those that have not proven who they are can be crowded out, so their places count as free.
    if (!this.#shares.take(identity, this.#options.maxTunnels - this.#proven)) {
      this.#options.onRefused('tunnels-of-identity');
      session.destroy();
      return;
    }
    this.#proven += 1;
    this.#sessions.add(session);
    session.once('close', () => {
      this.#proven -= 1;
      this.#shares.release(identity);
      this.#sessions.delete(session);
    });
    session.on('error', () => undefined);
    session.setLocalWindowSize(CONNECTION_WINDOW_BYTES);
    keepSessionAlive(session, () => session.destroy());
    if (this.#draining) setTimeout(() => session.close(), LATE_GOAWAY_MS).unref();
    const { ip } = peer.address;
    const intake = new StreamIntake(this.#turn, SERVER_SESSION_OPTIONS.settings.maxConcurrentStreams, {
      isWasteAllowed: () => this.#budget.spend(ip),
      areBadHeadsAllowed: (count, bytes) => {
        const forBytes = Math.floor(bytes / BYTES_OF_BAD_HEADS);
        if (this.#budget.spend(ip, count * BAD_HEAD + Math.min(forBytes, MOST_FOR_ONE))) return true;
        this.#budget.spend(ip, forBytes);
        return false;
      },
      refuse: (reason) => {
        this.#options.onRefused(reason);
        endSession(session, http2.constants.NGHTTP2_ENHANCE_YOUR_CALM);
      },
    });
    this.#heads.add(session, intake);
    session.on('stream', (stream, headers) => {
      stream.on('error', () => undefined);
      intake.take(stream, () => this.#options.onStream(peer, stream, headers));
    });
  }
}

/** A status without body; nothing when the stream is gone. */
export function answerStatus(stream: http2.ServerHttp2Stream, status: number): void {
  if (stream.destroyed || stream.closed || stream.headersSent) return;
  stream.respond({ ':status': status }, { endStream: true });
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
