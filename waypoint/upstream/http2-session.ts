import http2 from 'node:http2';
import { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import type { Connector } from './connector.ts';

const STREAM_WINDOW_BYTES = 1024 * 1024;
const CONNECTION_WINDOW_BYTES = 8 * 1024 * 1024;
const MAX_SESSION_MEMORY_MB = 64;
const MAX_HEADER_BYTES = 64 * 1024;
/** Beyond so many requests at once a further connection is made. */
const MAX_STREAMS_PER_SESSION = 100;
const SETTINGS_TIMEOUT_MS = 10_000;

export interface SessionEvents {
  /** A request may find a place now. */
  readonly onRoom: () => void;
  /** It takes no more requests; called once. Those under way go on. */
  readonly onGone: (session: UpstreamSession) => void;
}

/** One HTTP/2 connection to an endpoint, and how many requests are on it. */
export class UpstreamSession {
  readonly http2: http2.ClientHttp2Session;
  readonly #events: SessionEvents;
  #streams = 0;
  #carried = 0;
  #gone = false;
  #lastStreamId: number | undefined;
  readonly #idleTimer: NodeJS.Timeout;

  /** @param idleMs it closes after so long without a request */
  constructor(session: http2.ClientHttp2Session, events: SessionEvents, idleMs: number) {
    this.http2 = session;
    this.#events = events;
    session.on('goaway', (_code: number, lastStreamId: number) => {
      this.#lastStreamId = lastStreamId;
      this.#leave();
    });
    session.once('close', () => this.#leave());
    session.on('error', () => this.#leave());
    // Not the session's own timeout: an endpoint that sends PINGs, as many servers of gRPC do, would put that off for ever.
    this.#idleTimer = setTimeout(() => {
      if (this.#streams === 0) this.leave();
    }, idleMs);
    this.#idleTimer.unref();
  }

  /** Requests that it may take more now. */
  get room(): number {
    if (this.#gone || this.http2.closed || this.http2.destroyed) return 0;
    const peer = this.http2.remoteSettings?.maxConcurrentStreams ?? MAX_STREAMS_PER_SESSION;
    return Math.max(0, Math.min(peer, MAX_STREAMS_PER_SESSION) - this.#streams);
  }

  get isIdle(): boolean {
    return this.#streams === 0;
  }

  /** Takes a place; to be followed by {@link release}. @returns requests carried, this one too */
  reserve(): number {
    this.#streams += 1;
    return (this.#carried += 1);
  }

  release(): void {
    this.#streams -= 1;
    if (this.#gone) {
      this.#closeIfIdle();
      return;
    }
    if (this.#streams === 0) this.#idleTimer.refresh();
    this.#events.onRoom();
  }

  /** Takes no more requests and closes with the last one. */
  leave(): void {
    this.#leave();
    this.#closeIfIdle();
  }

  /** Whether the peer said that it did not and will not look at this stream (RFC 9113 section 6.8). */
  hasDisowned(streamId: number): boolean {
    return this.#lastStreamId !== undefined && streamId > this.#lastStreamId;
  }

  #leave(): void {
    if (this.#gone) return;
    this.#gone = true;
    clearTimeout(this.#idleTimer);
    this.#events.onGone(this);
  }

  #closeIfIdle(): void {
    if (this.#streams === 0 && !this.http2.closed && !this.http2.destroyed) this.http2.close();
  }
}

/**
 * Makes a connection and speaks HTTP/2 on it.
 *
 * @returns after the endpoint's SETTINGS came
 * @throws ProxyError of the connector; Error when the endpoint does not speak HTTP/2, or admits no request
 */
export async function openSession(connector: Connector): Promise<http2.ClientHttp2Session> {
  const stream = await connector.connect();
  const session = http2.connect('http://upstream', {
    createConnection: () => stream,
    maxSessionMemory: MAX_SESSION_MEMORY_MB,
    maxReservedRemoteStreams: 0,
    peerMaxConcurrentStreams: MAX_STREAMS_PER_SESSION,
    settings: {
      enablePush: false,
      initialWindowSize: STREAM_WINDOW_BYTES,
      maxHeaderListSize: MAX_HEADER_BYTES,
    },
  });
  stream.on('error', () => undefined);
  // HTTP/2 has no half-open life: an endpoint that ends its half answers nothing any more.
  if (stream instanceof Socket) stream.allowHalfOpen = false;
  // With an error, or Node would end the streams in it as if they were whole.
  else stream.once('end', () => session.destroy(new Error('the endpoint closed its half of the connection')));
  await settingsReceived(session, stream);
  session.setLocalWindowSize(CONNECTION_WINDOW_BYTES);
  return session;
}

function settingsReceived(session: http2.ClientHttp2Session, stream: Duplex): Promise<void> {
  return new Promise((resolve, reject) => {
    const fail = (error: Error): void => {
      clearTimeout(timer);
      session.destroy();
      stream.destroy();
      reject(error);
    };
    const timer = setTimeout(
      () => fail(new Error('the endpoint did not speak HTTP/2 in time')),
      SETTINGS_TIMEOUT_MS,
    );
    session.once('remoteSettings', (settings: http2.Settings) => {
      clearTimeout(timer);
      // Else whoever waits for a place would have one connection after another made, in vain.
      if (settings.maxConcurrentStreams === 0) fail(new Error('the endpoint admits no request'));
      else resolve();
    });
    // These stay: in later life they see to it that the stream below goes with the session.
    session.on('error', fail);
    session.once('close', () => fail(new Error('the connection was closed before HTTP/2 began')));
  });
}
