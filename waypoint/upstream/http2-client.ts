import http2 from 'node:http2';
import { sendReset } from '../../lib/mesh/hbone/stream-reset.ts';
import {
  AttemptError,
  type AttemptFailure,
  type AttemptRequest,
  type UpstreamAttempt,
  type UpstreamClient,
  type UpstreamResponse,
} from '../http/exchange.ts';
import type { PendingResult } from '../resilience/pending-queue.ts';
import { removeHopByHop, trailersOf, withoutPrototype } from '../http/headers.ts';
import type { Headers } from '../../lib/mesh/waypoint/request.ts';
import { answerWantTrailers } from '../http/want-trailers.ts';
import { MAX_INTERIM_RESPONSES } from '../http/limits.ts';
import { BodyWriter } from './body-writer.ts';
import { IDLE_CONNECTION_MS, isOverBound, type Connector } from './connector.ts';
import { openSession, UpstreamSession } from './http2-session.ts';

/** For so long one request may find all places taken, connection after connection, before it gives up. */
const MAX_WAIT_MS = 20_000;

const { NGHTTP2_REFUSED_STREAM, NGHTTP2_CANCEL, NGHTTP2_NO_ERROR } = http2.constants;

export interface Http2ClientOptions {
  /** Whether a connection that has carried so many requests takes no more. */
  readonly usedUp: (requests: number) => boolean;
  /** Called when so many requests more may find a place. */
  readonly onRoom: (places: number) => void;
  /** Waits in the backend's queue for {@link onRoom}; `ready` must try, or hand the turn on by `onRoom(1)`. */
  readonly waitForRoom: (signal: AbortSignal) => Promise<PendingResult>;
  /** A connection without a request is closed after so long; a minute where it is not given. */
  readonly idleMs?: number;
}

/** HTTP/2 with prior knowledge to one endpoint, over as many connections as its limits ask for. */
export class Http2Client implements UpstreamClient {
  readonly #connector: Connector;
  readonly #options: Http2ClientOptions;
  /** Those that take requests. */
  readonly #sessions = new Set<UpstreamSession>();
  #connecting: Promise<void> | undefined;
  #retired = false;

  constructor(connector: Connector, options: Http2ClientOptions) {
    this.#connector = connector;
    this.#options = options;
  }

  /** Whether the next request needs no new connection. */
  get hasRoom(): boolean {
    for (const session of this.#sessions) if (session.room > 0) return true;
    return false;
  }

  get connections(): number {
    return this.#sessions.size;
  }

  request(request: AttemptRequest): UpstreamAttempt {
    return new Http2Attempt((signal) => this.#checkout(signal), request);
  }

  /** Makes room for a connection elsewhere. @returns false when none is idle */
  closeOneIdle(): boolean {
    for (const session of this.#sessions) {
      if (!session.isIdle) continue;
      session.leave();
      return true;
    }
    return false;
  }

  /** Each connection closes with its last request; one that is being made serves those who wait for it. */
  retire(): void {
    this.#retired = true;
    for (const session of [...this.#sessions]) session.leave();
  }

  /** A session with a place taken. @throws AttemptError when the signal fires; Error when there is no connection */
  async #checkout(signal: AbortSignal): Promise<UpstreamSession> {
    let giveUpAt = performance.now() + MAX_WAIT_MS;
    do {
      for (const session of this.#sessions) {
        if (session.room === 0) continue;
        if (this.#options.usedUp(session.reserve())) session.leave();
        return session;
      }
      try {
        this.#connecting ??= this.#connect().finally(() => (this.#connecting = undefined));
        await this.#connecting;
      } catch (error) {
        // More came than the connections that were made have places for.
        if (!isOverBound(error) || (await this.#options.waitForRoom(signal)) === 'refused') throw error;
        giveUpAt = performance.now() + MAX_WAIT_MS;
        if (signal.aborted) this.#options.onRoom(1);
      }
      if (signal.aborted) throw new AttemptError({ kind: 'aborted' });
    } while (performance.now() < giveUpAt);
    throw new Error('no connection to the endpoint has a place');
  }

  async #connect(): Promise<void> {
    const http2Session = await openSession(this.#connector);
    const session = new UpstreamSession(
      http2Session,
      { onRoom: () => this.#options.onRoom(1), onGone: (gone) => this.#sessions.delete(gone) },
      this.#options.idleMs ?? IDLE_CONNECTION_MS,
    );
    if (session.room === 0) throw new Error('the endpoint closed the connection as soon as it was made');
    this.#sessions.add(session);
    // First those who waited for this very connection take their places.
    setImmediate(() => {
      if (this.#retired) session.leave();
      else if (session.room > 0) this.#options.onRoom(session.room);
    });
  }
}

class Http2Attempt implements UpstreamAttempt {
  readonly body: BodyWriter | undefined;
  readonly response: Promise<UpstreamResponse>;
  readonly #aborted = new AbortController();
  readonly #settled = Promise.withResolvers<UpstreamResponse>();
  #stream: http2.ClientHttp2Stream | undefined;
  #trailers: Headers | undefined;

  constructor(checkout: (signal: AbortSignal) => Promise<UpstreamSession>, request: AttemptRequest) {
    this.body = request.hasBody ? new BodyWriter() : undefined;
    this.response = this.#settled.promise;
    // Whoever aborts may not look at it any more.
    this.response.catch(() => undefined);
    this.#run(checkout, request).catch((error: AttemptError) => this.#settled.reject(error));
  }

  endBody(trailers: Headers): void {
    this.#trailers = trailers;
    this.body?.end();
  }

  abort(): void {
    if (this.#aborted.signal.aborted) return;
    this.#aborted.abort();
    // At once: a connection that is being made may take longer than whoever gave up would wait.
    this.#settled.reject(new AttemptError({ kind: 'aborted' }));
    if (this.#stream !== undefined) cancel(this.#stream);
    this.body?.destroy();
  }

  complete(): void {
    if (this.body !== undefined && this.#stream?.writableFinished === false) this.abort();
  }

  async #run(
    checkout: (signal: AbortSignal) => Promise<UpstreamSession>,
    request: AttemptRequest,
  ): Promise<void> {
    const { signal } = this.#aborted;
    let session: UpstreamSession;
    try {
      session = await checkout(signal);
    } catch (error) {
      throw error instanceof AttemptError
        ? error
        : new AttemptError({ kind: 'connect', error: error as Error });
    }
    if (signal.aborted) {
      session.release();
      throw new AttemptError({ kind: 'aborted' });
    }
    let stream: http2.ClientHttp2Stream;
    try {
      stream = session.http2.request(requestHeaders(request), {
        endStream: !request.hasBody,
        waitForTrailers: request.hasBody,
      });
    } catch (error) {
      session.release();
      throw new AttemptError({ kind: 'refused', error: error as Error });
    }
    this.#stream = stream;
    stream.once('close', () => session.release());
    stream.on('wantTrailers', () => answerWantTrailers(stream, this.#trailers));
    let interim = 0;
    stream.on('headers', (headers: http2.IncomingHttpHeaders) => {
      interim += 1;
      if (interim > MAX_INTERIM_RESPONSES) {
        stream.destroy(Object.assign(new Error('too many interim responses'), { code: 'ERR_HTTP2_ERROR' }));
        return;
      }
      request.onInformational(Number(headers[':status']), plain(headers));
    });
    this.body?.attach(stream);
    this.#whenResponse(stream, session);
  }

  #whenResponse(stream: http2.ClientHttp2Stream, session: UpstreamSession): void {
    let failure: Error | undefined;
    stream.on('error', (error) => (failure = error));
    stream.once('close', () =>
      this.#settled.reject(new AttemptError(this.#failure(stream, session, failure))),
    );
    stream.once('response', (raw, flags) => {
      let trailers: Headers = Object.create(null) as Headers;
      stream.on('trailers', (received) => (trailers = trailersOf(received)));
      const headers = plain(raw);
      removeHopByHop(headers);
      const ended = (flags & 1) !== 0;
      if (ended) stream.resume();
      this.#settled.resolve({
        status: Number(raw[':status']),
        headers,
        body: ended ? undefined : stream,
        takeWhole: () => undefined,
        trailers: () => trailers,
        upgraded: undefined,
      });
    });
  }

  #failure(
    stream: http2.ClientHttp2Stream,
    session: UpstreamSession,
    failure: Error | undefined,
  ): AttemptFailure {
    const code = stream.rstCode ?? NGHTTP2_NO_ERROR;
    const error = failure ?? new Error(`the stream ended with code ${code} before a response`);
    // After a GOAWAY without an error Node closes streams above its last id with REFUSED_STREAM.
    if (code === NGHTTP2_REFUSED_STREAM || stream.id === undefined || session.hasDisowned(stream.id))
      return { kind: 'refused', error };
    if ((failure as NodeJS.ErrnoException | undefined)?.code === 'ERR_HTTP2_ERROR')
      return { kind: 'protocol', error };
    return { kind: 'reset', error };
  }
}

/**
 * Gives a stream up. One that its peer has ended already, but nobody has read to its end, is over only by being destroyed; one
 * that still sends must not be: Node dies when HTTP/2 then asks for the trailers of a destroyed stream. For the same
 * reason not from within an event of its session, when Node would put the RST_STREAM off (docs/decisions/0085).
 */
function cancel(stream: http2.ClientHttp2Stream): void {
  setImmediate(() => {
    if (stream.closed) stream.destroy();
    else sendReset(stream, NGHTTP2_CANCEL);
  });
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
