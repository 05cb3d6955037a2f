import http2 from 'node:http2';
import type { Duplex } from 'node:stream';
import { endSession, sendReset } from '../../lib/mesh/hbone/stream-reset.ts';
import type { Exchange, ExchangeHandler, IncomingHead } from './exchange.ts';
import { trailersOf, withoutPrototype } from './headers.ts';
import type { ProtocolErrorHandler } from './http1-server.ts';
import { HeadWatch } from '../../lib/mesh/hbone/head-watch.ts';
import { StreamIntake } from '../../lib/mesh/hbone/stream-intake.ts';
import { Turn } from '../../lib/mesh/hbone/turn.ts';
import type { HttpLimits } from './limits.ts';
import type { Headers } from '../../lib/mesh/waypoint/request.ts';
import { answerWantTrailers } from './want-trailers.ts';

const STREAM_WINDOW_BYTES = 256 * 1024;
const CONNECTION_WINDOW_BYTES = 4 * 1024 * 1024;
const MAX_SESSION_MEMORY_MB = 32;
const MAX_INVALID_FRAMES = 100;
/**
 * GOAWAY with the highest stream identifier there is: the notice before the end (RFC 9113 section 6.8). As bytes, since
 * nghttp2 takes what Node offers, `session.goaway()`, for the end itself, and passes over every stream that comes after.
 */
const SHUTDOWN_NOTICE = Buffer.from('000008070000000000' + '7fffffff' + '00000000', 'hex');
const GRPC = /^application\/grpc($|[;+])/;

/** What the end of a connection by a broken protocol counts for: a flood of resets is ended by nghttp2 in this way. */
const BROKEN_CONNECTION = 10;

/**
 * What a head beyond what is read counts for: half a millisecond where it is made for that. A gateway sends none for its own clients: what
 * it takes from them is within what is read here, and gets 431.
 */
const BAD_HEAD = 20;
/** Of a field, beside its name and value (RFC 9113 section 10.5.1). */
const FIELD_OVERHEAD_BYTES = 32;

type Waste = (amount: number) => boolean;

/** HTTP/2 with prior knowledge (RFC 9113 section 3.3) on connections that come as byte streams. */
export class Http2Server {
  readonly #server: http2.Http2Server;
  readonly #sessions = new Map<http2.ServerHttp2Session, Duplex>();
  readonly #handlers = new WeakMap<Duplex, ExchangeHandler>();
  readonly #limits: HttpLimits;
  readonly #onProtocolError: ProtocolErrorHandler;
  readonly #turn: Turn;
  readonly #heads = new HeadWatch();
  #draining = false;

  constructor(limits: HttpLimits, onProtocolError: ProtocolErrorHandler, turn: Turn = new Turn()) {
    this.#limits = limits;
    this.#turn = turn;
    this.#onProtocolError = onProtocolError;
    this.#server = http2.createServer({
      maxHeaderListPairs: limits.maxHeadersRead,
      maxSessionMemory: MAX_SESSION_MEMORY_MB,
      maxSessionInvalidFrames: MAX_INVALID_FRAMES,
      maxSendHeaderBlockLength: limits.maxHeaderBytes,
      streamResetBurst: limits.resetBurst,
      streamResetRate: limits.resetRatePerS,
      settings: {
        enablePush: false,
        initialWindowSize: STREAM_WINDOW_BYTES,
        maxConcurrentStreams: limits.maxConcurrentStreams,
        maxHeaderListSize: limits.maxHeaderBytesRead,
      },
    });
    this.#server.on('sessionError', () => undefined);
  }

  /**
   * Serves HTTP/2 on a connection until it ends; the client's preface must be its next bytes.
   *
   * @param waste asked when the client wastes so much of what it may waste; false: its connection is ended
   */
  accept(connection: Duplex, handler: ExchangeHandler, waste: Waste = () => true): void {
    this.#handlers.set(connection, handler);
    const onSession = (session: http2.ServerHttp2Session): void =>
      this.#onSession(session, connection, handler, waste);
    this.#server.once('session', onSession);
    this.#server.emit('connection', connection);
    this.#server.off('session', onSession);
  }

  /** Asks all clients to open no more streams; those on their way are still served (RFC 9113 section 6.8). */
  drain(): void {
    this.#draining = true;
    for (const [session, connection] of this.#sessions) giveNotice(session, connection);
  }

  /** What comes now is refused as not served; each session closes with its last stream. */
  closeIdle(): void {
    for (const session of this.#sessions.keys()) if (!session.closed) session.close();
  }

  close(): void {
    for (const session of this.#sessions.keys()) session.destroy();
  }

  #onSession(
    session: http2.ServerHttp2Session,
    connection: Duplex,
    handler: ExchangeHandler,
    waste: Waste,
  ): void {
    this.#sessions.set(session, connection);
    session.once('close', () => this.#sessions.delete(session));
    session.on('error', (error: NodeJS.ErrnoException) => {
      this.#onProtocolError(connection, 0, error.code ?? error.message);
      waste(BROKEN_CONNECTION);
      if (!connection.destroyed) connection.destroy();
    });
    session.setLocalWindowSize(CONNECTION_WINDOW_BYTES);
    if (this.#draining) giveNotice(session, connection);
    session.setTimeout(this.#limits.connectionIdleTimeoutMs, () => session.close());
    const intake = new StreamIntake(this.#turn, this.#limits.maxConcurrentStreams, {
      isWasteAllowed: () => waste(1),
      areBadHeadsAllowed: (count) => waste(count * BAD_HEAD),
      refuse: (reason) => {
        this.#onProtocolError(connection, 0, reason);
        endSession(session, http2.constants.NGHTTP2_ENHANCE_YOUR_CALM);
        // By the time that it has taken the GOAWAY.
        setImmediate(() => connection.destroy());
      },
    });
    this.#heads.add(session, intake);
    session.on('stream', (stream, headers, flags, rawHeaders) => {
      stream.on('error', () => undefined);
      intake.take(stream, () => {
        if (this.#isTooLong(rawHeaders)) this.#refuseHead(stream, connection);
        // END_STREAM on the head: there is no body.
        else handler(new Http2Exchange(stream, headers, (flags & 1) !== 0));
      });
    });
  }

  /** @param raw names and values in turns */
  #isTooLong(raw: readonly string[]): boolean {
    const { maxHeaders, maxHeaderBytes } = this.#limits;
    if (raw.length > 2 * maxHeaders) return true;
    let bytes = (raw.length / 2) * FIELD_OVERHEAD_BYTES;
    for (const text of raw) bytes += text.length;
    return bytes > maxHeaderBytes;
  }

  #refuseHead(stream: http2.ServerHttp2Stream, connection: Duplex): void {
    this.#onProtocolError(connection, 431, 'head-too-large');
    if (stream.destroyed || stream.closed) return;
    // What else it sends is not needed (RFC 9113 section 8.1).
    stream.once('finish', () => stream.close(http2.constants.NGHTTP2_NO_ERROR));
    stream.respond({ ':status': 431 }, { endStream: true });
  }
}

/**
 * Written past the session, which goes on taking streams: a session hands its stream whole frames, so that this one comes
 * between two. The client's acknowledgement of our settings says that they, which have to be first, have left.
 */
function giveNotice(session: http2.ServerHttp2Session, connection: Duplex): void {
  if (session.closed || session.destroyed || !connection.writable) return;
  if (session.pendingSettingsAck) session.once('localSettings', () => giveNotice(session, connection));
  else connection.write(SHUTDOWN_NOTICE);
}

class Http2Exchange implements Exchange {
  readonly incoming: IncomingHead;
  readonly body: http2.ServerHttp2Stream | undefined;
  readonly expectsContinue: boolean;
  readonly upgrade: string | undefined;
  readonly #stream: http2.ServerHttp2Stream;
  #requestTrailers: Headers = Object.create(null) as Headers;
  #trailers: Headers | undefined;
  #headSent = false;

  constructor(stream: http2.ServerHttp2Stream, raw: http2.IncomingHttpHeaders, ended: boolean) {
    this.#stream = stream;
    this.body = ended ? undefined : stream;
    const headers = withoutPrototype(raw);
    const host = headers['host'];
    delete headers['host'];
    this.expectsContinue = typeof headers['expect'] === 'string' && /^100-continue$/i.test(headers['expect']);
    // Extended CONNECT (RFC 8441) is not announced, so that no client may send it.
    this.upgrade = undefined;
    const authority = raw[':authority'] ?? (typeof host === 'string' ? host : '');
    const type = headers['content-type'];
    this.incoming = {
      method: raw[':method'] ?? '',
      authority: authority.toLowerCase(),
      target: raw[':path'] ?? '',
      protocol: typeof type === 'string' && GRPC.test(type) ? 'grpc' : 'http2',
      headers,
    };
    stream.on('trailers', (trailers) => {
      this.#requestTrailers = trailersOf(trailers);
    });
    stream.on('wantTrailers', () => answerWantTrailers(stream, this.#trailers));
  }

  get out(): http2.ServerHttp2Stream {
    return this.#stream;
  }

  get headSent(): boolean {
    return this.#headSent;
  }

  get aborted(): boolean {
    return this.#stream.destroyed || this.#stream.aborted;
  }

  requestTrailers(): Headers {
    return this.#requestTrailers;
  }

  informational(status: number, headers: Headers): void {
    if (this.#headSent || this.aborted) return;
    this.#stream.additionalHeaders({ ...headers, ':status': status });
  }

  respond(status: number, headers: Headers, endStream: boolean): void {
    this.#respond(status, headers, endStream, !endStream);
  }

  respondWhole(status: number, headers: Headers, body: Buffer): void {
    if (this.#respond(status, headers, false, false)) this.#stream.end(body);
  }

  #respond(status: number, headers: Headers, endStream: boolean, waitForTrailers: boolean): boolean {
    if (this.#headSent || this.aborted) return false;
    this.#headSent = true;
    delete headers['connection'];
    delete headers['keep-alive'];
    delete headers['transfer-encoding'];
    headers[':status' as string] = String(status);
    this.#stream.respond(headers, {
      endStream,
      waitForTrailers,
      sendDate: false,
    } as http2.ServerStreamResponseOptions);
    // An early answer, all of it: the client need not send the rest (RFC 9113 section 8.1).
    if (endStream && this.body !== undefined && !this.#stream.readableEnded) {
      this.#stream.once('finish', () => this.#stream.close(http2.constants.NGHTTP2_NO_ERROR));
    }
    return true;
  }

  endWithTrailers(trailers: Headers): void {
    this.#trailers = trailers;
    if (!this.#stream.writableEnded) this.#stream.end();
  }

  switchProtocols(): Duplex {
    throw new Error('HTTP/2 switches no protocols');
  }

  reset(): void {
    if (!this.#stream.destroyed) sendReset(this.#stream, http2.constants.NGHTTP2_INTERNAL_ERROR);
  }

  onAbort(listener: () => void): void {
    this.#stream.once('close', () => {
      if (!this.#stream.writableFinished || (this.#stream.rstCode !== 0 && this.#stream.aborted)) listener();
    });
  }
}
