import http2 from 'node:http2';
import tls from 'node:tls';
import { MeshError } from '../errors.ts';
import { hboneClientTls } from '../identity/tls-context.ts';
import type { Dialer } from './dialer.ts';
import { whenConnected } from './dialer.ts';
import { hostPortText, type HostPort } from './host-port.ts';
import { ProxyError } from './proxy-error.ts';
import type { Certificate } from './certificate-store.ts';
import { sendReset } from './stream-reset.ts';
import { CLIENT_SESSION_OPTIONS, CONNECTION_WINDOW_BYTES, keepSessionAlive } from './h2-settings.ts';

const CONNECT_TIMEOUT_MS = 10_000;
/**
 * From the TCP connection to the peer's SETTINGS. One that nobody takes waits at a listener for the next ztunnel, which the kubelet
 * starts again after 10 s where it ended twice in a row.
 */
const HANDSHAKE_TIMEOUT_MS = 25_000;
/** The other end may wait 5 s for its policies and 10 s for its application before it answers. */
const RESPONSE_TIMEOUT_MS = 20_000;
/** A connection is left alone beyond so many streams, even when the peer would take more (ambient-facts C2). */
const MAX_STREAMS_PER_TUNNEL = 100;
const IDLE_RELEASE_MS = 300_000;

export interface TunnelTarget {
  readonly address: HostPort;
  /** SPIFFE URIs; the server's certificate must have one of them. */
  readonly expectedIdentities: readonly string[];
}

/**
 * Sees to it that a TLS error closes the connection. Node leaves an established one open, and an HTTP/2 session over it
 * waits for its last frames for ever.
 */
export function destroyOnError(socket: tls.TLSSocket): void {
  socket.on('error', () => setImmediate(() => socket.destroy()));
}

/** One HTTP/2 connection over mutual TLS to a destination's HBONE port, and the CONNECT streams in it. */
export class HboneTunnel {
  readonly #session: http2.ClientHttp2Session;
  readonly #onGone: (tunnel: HboneTunnel) => void;
  readonly #notAfter: number;
  #streams = 0;
  #retired = false;
  #idleTimer: NodeJS.Timeout | undefined;

  /**
   * Takes a session whose SETTINGS have been received. `onGone` is called once, when it must not be used any more.
   *
   * @param notAfter when the certificate expires with which it was made, milliseconds since the epoch
   */
  constructor(session: http2.ClientHttp2Session, notAfter: number, onGone: (tunnel: HboneTunnel) => void) {
    this.#session = session;
    this.#notAfter = notAfter;
    this.#onGone = onGone;
    session.on('goaway', () => this.#leavePool());
    session.once('close', () => this.#leavePool());
    session.on('error', () => this.#leavePool());
    keepSessionAlive(session, () => this.destroy());
    this.#startIdleTimer();
  }

  /** How many streams it may carry at once. */
  get capacity(): number {
    const peer = this.#session.destroyed ? 0 : this.#session.remoteSettings.maxConcurrentStreams;
    return Math.min(MAX_STREAMS_PER_TUNNEL, peer ?? MAX_STREAMS_PER_TUNNEL);
  }

  /** A busy tunnel would live on for ever; what connects after its certificate's end needs one made with the next. */
  get isExpired(): boolean {
    return Date.now() >= this.#notAfter;
  }

  get streams(): number {
    return this.#streams;
  }

  get hasRoom(): boolean {
    return (
      !this.#retired &&
      !this.isExpired &&
      !this.#session.closed &&
      !this.#session.destroyed &&
      this.#streams < this.capacity
    );
  }

  /** Takes a place for a stream; to be followed by {@link open}. */
  reserve(): void {
    this.#streams += 1;
    clearTimeout(this.#idleTimer);
  }

  /**
   * Opens a CONNECT stream on a reserved place and waits for the answer.
   *
   * @returns the stream, after status 200; nothing has been read from it
   * @throws ProxyError STREAM_REFUSED when the connection was lost or the stream refused before an answer came, which
   *   is safe to try again; POLICY_DENIED, CONNECT_FAILED, PEER_REFUSED by the status; CONNECT_TIMEOUT
   */
  async open(headers: http2.OutgoingHttpHeaders): Promise<http2.ClientHttp2Stream> {
    let stream: http2.ClientHttp2Stream;
    try {
      stream = this.#session.request({ ':method': 'CONNECT', ...headers }, { endStream: false });
    } catch (cause) {
      this.#release();
      throw new ProxyError('STREAM_REFUSED', 'the tunnel closed before it was used', { cause });
    }
    stream.once('close', () => this.#release());
    const status = await responseStatus(stream);
    if (status === 200) return stream;
    sendReset(stream, http2.constants.NGHTTP2_CANCEL);
    throw statusError(status);
  }

  /**
   * No new streams; it closes when the last one ends. Until then it is asked for signs of life: its peer may be a pod
   * that has just gone, and a session that Node is told to close sends no PING any more.
   */
  retire(): void {
    this.#leavePool();
    if (this.#streams === 0) this.#close();
  }

  /** Cuts it with all its streams. */
  destroy(): void {
    this.#leavePool();
    this.#session.destroy();
  }

  #release(): void {
    this.#streams -= 1;
    if (this.#streams > 0) return;
    if (this.#retired) this.#close();
    else this.#startIdleTimer();
  }

  #close(): void {
    if (!this.#session.destroyed && !this.#session.closed) this.#session.close();
  }

  #leavePool(): void {
    if (this.#retired) return;
    this.#retired = true;
    clearTimeout(this.#idleTimer);
    this.#onGone(this);
  }

  #startIdleTimer(): void {
    clearTimeout(this.#idleTimer);
    this.#idleTimer = setTimeout(() => this.retire(), IDLE_RELEASE_MS);
    this.#idleTimer.unref();
  }
}

/**
 * Connects to a destination's HBONE port from inside the source pod.
 *
 * @returns after TLS is established, the peer's identity checked and its SETTINGS received
 * @throws ProxyError CONNECT_FAILED, MAYBE_NETWORK_POLICY, PEER_IDENTITY, TLS_FAILURE, H2_FAILURE; `unused` where the
 *   peer ended the connection without a word, as one that was killed does
 */
export async function connectSession(
  sockets: Dialer,
  target: TunnelTarget,
  certificate: Certificate,
  timeouts = { connectMs: CONNECT_TIMEOUT_MS, handshakeMs: HANDSHAKE_TIMEOUT_MS },
): Promise<http2.ClientHttp2Session> {
  const raw = sockets.dialRemote(target.address);
  try {
    await whenConnected(raw, timeouts.connectMs, target.address);
  } catch (error) {
    if (!(error instanceof ProxyError) || error.code !== 'CONNECT_TIMEOUT') throw error;
    throw new ProxyError(
      'MAYBE_NETWORK_POLICY',
      `${error.message}; a NetworkPolicy may be blocking HBONE port ${target.address.port}`,
    );
  }
  raw.setNoDelay(true);
  // A tunnel has no half-open life: when the peer closes its half, all streams in it are over.
  raw.allowHalfOpen = false;
  const tlsSocket = tls.connect({
    socket: raw,
    ...hboneClientTls(certificate.bundle, target.expectedIdentities),
    secureContext: certificate.clientContext,
  });
  destroyOnError(tlsSocket);
  let secured = false;
  tlsSocket.once('secureConnect', () => (secured = true));
  const session = http2.connect(`https://${hostPortText(target.address)}`, {
    ...CLIENT_SESSION_OPTIONS,
    createConnection: () => tlsSocket,
  });
  session.once('connect', () => {
    session.setLocalWindowSize(CONNECTION_WINDOW_BYTES);
  });
  try {
    await settingsReceived(session, tlsSocket, timeouts.handshakeMs);
  } catch (cause) {
    session.destroy();
    raw.destroy();
    const where = hostPortText(target.address);
    if (cause instanceof MeshError && cause.code === 'PEER_IDENTITY') {
      throw new ProxyError('PEER_IDENTITY', `${where} is not who it should be`, { cause });
    }
    const options = { cause, unused: isLoss(cause) };
    if (!secured || isTlsAlert(cause)) {
      throw new ProxyError('TLS_FAILURE', `TLS with ${where} failed`, options);
    }
    throw new ProxyError('H2_FAILURE', `HTTP/2 with ${where} failed`, options);
  }
  return session;
}

function isTlsAlert(error: unknown): boolean {
  const code = (error as NodeJS.ErrnoException | undefined)?.code;
  return code?.startsWith('ERR_SSL') === true;
}

class ConnectionClosed extends Error {}

/** Whether the peer went away in place of an answer: no alert, no certificate that will not do, not silence. */
function isLoss(error: unknown): boolean {
  if (error instanceof ConnectionClosed) return true;
  const code = (error as NodeJS.ErrnoException | undefined)?.code;
  return code === 'ECONNRESET' || code === 'EPIPE';
}

function settingsReceived(
  session: http2.ClientHttp2Session,
  socket: tls.TLSSocket,
  timeoutMs: number,
): Promise<void> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error(`no answer in time`)), timeoutMs);
    session.once('remoteSettings', (settings: http2.Settings) => {
      clearTimeout(timer);
      if (settings.maxConcurrentStreams === 0) reject(new Error('the peer admits no stream'));
      else resolve();
    });
    const fail = (error: Error): void => {
      clearTimeout(timer);
      reject(error);
    };
    // Stay: errors of later life are handled by the tunnel, and one without any listener would end the process.
    session.on('error', fail);
    socket.on('error', fail);
    const onClose = (): void => fail(new ConnectionClosed('the connection was closed'));
    session.once('close', onClose);
    socket.once('close', onClose);
  });
}

function responseStatus(stream: http2.ClientHttp2Stream): Promise<number> {
  return new Promise((resolve, reject) => {
    let failure: Error | undefined;
    const timer = setTimeout(() => {
      stream.off('close', onClose);
      sendReset(stream, http2.constants.NGHTTP2_CANCEL);
      reject(
        new ProxyError('CONNECT_TIMEOUT', `no answer through the tunnel in ${RESPONSE_TIMEOUT_MS / 1000} s`),
      );
    }, RESPONSE_TIMEOUT_MS);
    const onClose = (): void => {
      clearTimeout(timer);
      reject(
        new ProxyError(
          'STREAM_REFUSED',
          `the tunnel's stream ended with code ${stream.rstCode} before an answer`,
          {
            cause: failure,
          },
        ),
      );
    };
    stream.on('error', (error) => (failure = error));
    stream.once('close', onClose);
    stream.once('response', (headers) => {
      clearTimeout(timer);
      stream.off('close', onClose);
      resolve(Number(headers[':status']));
    });
  });
}

function statusError(status: number): ProxyError {
  switch (status) {
    case 401:
      return new ProxyError('POLICY_DENIED', 'denied by the destination (status 401)', { status });
    case 503:
      return new ProxyError('CONNECT_FAILED', 'the destination cannot reach its application (status 503)', {
        status,
      });
    default:
      return new ProxyError('PEER_REFUSED', `the destination answered with status ${status}`, { status });
  }
}
