import http2 from 'node:http2';
import type { Duplex } from 'node:stream';
import {
  AttemptError,
  type AttemptFailure,
  type AttemptRequest,
  type UpstreamAttempt,
  type UpstreamClient,
  type UpstreamResponse,
} from '../http/exchange.ts';
import { removeHopByHop, trailersOf, withoutPrototype } from '../http/headers.ts';
import type { Headers } from '../http/request.ts';
import { BodyWriter } from './body-writer.ts';
import type { Connector } from './connector.ts';

const STREAM_WINDOW_BYTES = 1024 * 1024;
const CONNECTION_WINDOW_BYTES = 8 * 1024 * 1024;
const MAX_SESSION_MEMORY_MB = 64;
const MAX_HEADER_BYTES = 64 * 1024;
/** Beyond so many requests at once a further connection is made. */
const MAX_STREAMS_PER_SESSION = 100;
const SETTINGS_TIMEOUT_MS = 10_000;
const IDLE_SESSION_MS = 300_000;

const { NGHTTP2_REFUSED_STREAM, NGHTTP2_CANCEL, NGHTTP2_NO_ERROR } = http2.constants;

interface Session {
  readonly session: http2.ClientHttp2Session;
  streams: number;
  carried: number;
  gone: boolean;
}

/** HTTP/2 with prior knowledge to one endpoint, over as many connections as its limits ask for. */
export class Http2Client implements UpstreamClient {
  readonly #connector: Connector;
  readonly #sessions = new Set<Session>();
  readonly #usedUp: (requests: number) => boolean;
  #connecting: Promise<void> | undefined;
  #retired = false;

  /** @param usedUp whether a connection that has carried so many requests takes no more */
  constructor(connector: Connector, usedUp: (requests: number) => boolean) {
    this.#connector = connector;
    this.#usedUp = usedUp;
  }

  /** Whether the next request needs no new connection. */
  get hasRoom(): boolean {
    return [...this.#sessions].some(hasRoom);
  }

  get connections(): number {
    return this.#sessions.size;
  }

  request(request: AttemptRequest): UpstreamAttempt {
    return new Http2Attempt(() => this.#checkout(), request);
  }

  /** No new requests; each connection closes with its last one. */
  retire(): void {
    this.#retired = true;
    for (const session of this.#sessions) session.session.close();
  }

  /** A session with room, with a place taken. */
  async #checkout(): Promise<Session> {
    for (;;) {
      for (const session of this.#sessions) {
        if (!hasRoom(session)) continue;
        session.streams += 1;
        session.carried += 1;
        if (this.#usedUp(session.carried)) {
          session.gone = true;
          this.#sessions.delete(session);
        }
        return session;
      }
      this.#connecting ??= this.#connect().finally(() => (this.#connecting = undefined));
      await this.#connecting;
    }
  }

  async #connect(): Promise<void> {
    const stream = await this.#connector.connect();
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
    const entry: Session = { session, streams: 0, carried: 0, gone: false };
    const leave = (): void => {
      entry.gone = true;
      this.#sessions.delete(entry);
    };
    session.on('goaway', leave);
    session.once('close', leave);
    session.on('error', leave);
    stream.on('error', () => undefined);
    await settingsReceived(session, stream);
    session.setLocalWindowSize(CONNECTION_WINDOW_BYTES);
    session.setTimeout(IDLE_SESSION_MS, () => {
      if (entry.streams > 0) return;
      leave();
      session.close();
    });
    if (!entry.gone) this.#sessions.add(entry);
    if (this.#retired) session.close();
  }
}

function hasRoom({ session, streams, gone }: Session): boolean {
  if (gone || session.closed || session.destroyed) return false;
  const peer = session.remoteSettings?.maxConcurrentStreams ?? MAX_STREAMS_PER_SESSION;
  return streams < Math.min(peer, MAX_STREAMS_PER_SESSION);
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
    session.once('remoteSettings', () => {
      clearTimeout(timer);
      resolve();
    });
    session.once('error', fail);
    session.once('close', () => fail(new Error('the connection was closed before HTTP/2 began')));
  });
}

class Http2Attempt implements UpstreamAttempt {
  readonly body: BodyWriter | undefined;
  readonly response: Promise<UpstreamResponse>;
  #stream: http2.ClientHttp2Stream | undefined;
  #trailers: Headers | undefined;
  #aborted = false;

  constructor(checkout: () => Promise<Session>, request: AttemptRequest) {
    this.body = request.hasBody ? new BodyWriter() : undefined;
    this.response = this.#run(checkout, request);
  }

  endBody(trailers: Headers): void {
    this.#trailers = trailers;
    this.body?.end();
  }

  abort(): void {
    this.#aborted = true;
    this.#stream?.close(NGHTTP2_CANCEL);
    this.body?.destroy();
  }

  async #run(checkout: () => Promise<Session>, request: AttemptRequest): Promise<UpstreamResponse> {
    let session: Session;
    try {
      session = await checkout();
    } catch (error) {
      throw new AttemptError({ kind: 'connect', error: error as Error });
    }
    if (this.#aborted) {
      session.streams -= 1;
      throw new AttemptError({ kind: 'aborted' });
    }
    let stream: http2.ClientHttp2Stream;
    try {
      stream = session.session.request(requestHeaders(request), {
        endStream: !request.hasBody,
        waitForTrailers: request.hasBody,
      });
    } catch (error) {
      session.streams -= 1;
      throw new AttemptError({ kind: 'refused', error: error as Error });
    }
    this.#stream = stream;
    stream.once('close', () => {
      session.streams -= 1;
      if (session.gone && session.streams === 0 && !session.session.closed) session.session.close();
    });
    stream.on('wantTrailers', () => {
      if (!stream.destroyed) stream.sendTrailers(this.#trailers ?? {});
    });
    stream.on('headers', (headers: http2.IncomingHttpHeaders) => {
      request.onInformational(Number(headers[':status']), plain(headers));
    });
    this.body?.attach(stream);
    return this.#whenResponse(stream, session);
  }

  #whenResponse(stream: http2.ClientHttp2Stream, session: Session): Promise<UpstreamResponse> {
    return new Promise((resolve, reject) => {
      let failure: Error | undefined;
      stream.on('error', (error) => (failure = error));
      const onClose = (): void => reject(new AttemptError(this.#failure(stream, session, failure)));
      stream.once('close', onClose);
      stream.once('response', (raw, flags) => {
        stream.off('close', onClose);
        let trailers: Headers = Object.create(null) as Headers;
        stream.on('trailers', (received) => (trailers = trailersOf(received)));
        const headers = plain(raw);
        removeHopByHop(headers);
        const ended = (flags & 1) !== 0;
        if (ended) stream.resume();
        resolve({
          status: Number(raw[':status']),
          headers,
          body: ended ? undefined : stream,
          takeWhole: () => undefined,
          trailers: () => trailers,
          upgraded: undefined,
        });
      });
    });
  }

  #failure(stream: http2.ClientHttp2Stream, session: Session, failure: Error | undefined): AttemptFailure {
    if (this.#aborted) return { kind: 'aborted' };
    const code = stream.rstCode ?? NGHTTP2_NO_ERROR;
    const error = failure ?? new Error(`the stream ended with code ${code} before a response`);
    // After a GOAWAY Node closes streams above its last id with REFUSED_STREAM or without having sent them.
    if (code === NGHTTP2_REFUSED_STREAM || stream.id === undefined) return { kind: 'refused', error };
    if ((failure as NodeJS.ErrnoException | undefined)?.code === 'ERR_HTTP2_ERROR')
      return { kind: 'protocol', error };
    if (session.gone && failure === undefined && code === NGHTTP2_CANCEL) return { kind: 'reset', error };
    return { kind: 'reset', error };
  }
}

function plain(headers: http2.IncomingHttpHeaders): Headers {
  return withoutPrototype(headers);
}

function requestHeaders({ head, headers }: AttemptRequest): http2.OutgoingHttpHeaders {
  const outgoing: Headers = headers;
  delete outgoing['host'];
  delete outgoing['connection'];
  delete outgoing['transfer-encoding'];
  delete outgoing['keep-alive'];
  return {
    ':method': head.method,
    ':scheme': 'http',
    ':authority': head.authority,
    ':path': head.query === '' ? head.path : `${head.path}?${head.query}`,
    ...(outgoing as http2.OutgoingHttpHeaders),
  };
}
