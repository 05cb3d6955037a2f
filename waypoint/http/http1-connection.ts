import type http from 'node:http';
import type { Duplex } from 'node:stream';
import { isHttp2Stream, resetStream } from '../../lib/mesh/hbone/stream-reset.ts';
import type { ExchangeHandler } from './exchange.ts';
import { answerRaw } from './raw-response.ts';

/** Requests that wait for the answer to the one before them. Whoever sends more is cut off after those. */
export const MAX_PIPELINED_REQUESTS = 1_000;
/**
 * How long a client may take to close its half after the last response. Long, for the end of writing is not the end of
 * reading: what a slow client has yet to read lies in buffers on its way, and a reset would take it away (RFC 9112
 * section 9.6).
 */
export const LINGER_MS = 30_000;

interface Turn {
  readonly request: http.IncomingMessage;
  readonly response: http.ServerResponse;
  readonly run: () => void;
}

/**
 * One client's connection. Its requests are served one after the other, as they came: what follows an unsafe one may
 * depend on it (RFC 9112 section 9.3.2), and one connection must not cause any number of requests at a time.
 */
export class Http1Connection {
  readonly handler: ExchangeHandler;
  readonly #stream: Duplex;
  readonly #waiting: Turn[] = [];
  #turn: Turn | undefined;
  /** What the client gets after the last answer, since what it sent then could not be read. */
  #failure: number | undefined;
  #linger: NodeJS.Timeout | undefined;
  #switched = false;
  #discards = false;
  #idleSince = performance.now();

  constructor(stream: Duplex, handler: ExchangeHandler) {
    this.#stream = stream;
    this.handler = handler;
    stream.once('finish', () => this.#startLinger());
    stream.once('close', () => {
      this.#waiting.length = 0;
      clearTimeout(this.#linger);
    });
  }

  /** Whether a request waits for its answer. */
  get busy(): boolean {
    return this.#turn !== undefined;
  }

  /** Closes it when it has had no request for so long. */
  closeIfIdle(idleMs: number): void {
    const idle = this.#turn === undefined && !this.#switched && !this.#stream.writableEnded;
    if (idle && this.#idleSince <= performance.now() - idleMs) this.#stream.end();
  }

  /** Serves a request when all before it were answered. */
  take(turn: Turn): void {
    // After the last response nothing is served any more (RFC 9112 section 9.6).
    if (this.#failure !== undefined || this.#stream.writableEnded) {
      this.#discard();
      return;
    }
    if (this.#turn === undefined) {
      this.#start(turn);
      return;
    }
    // Nothing more is read than came with it; the body of the request before it is complete.
    this.#stream.pause();
    if (this.#waiting.length >= MAX_PIPELINED_REQUESTS) this.#failure = 503;
    else this.#waiting.push(turn);
  }

  /** Whether what comes is still read. */
  get readable(): boolean {
    return this.#failure === undefined && !this.#stream.writableEnded;
  }

  /** What came now cannot be read: the client gets this status in its turn, and the connection ends. */
  fail(status: number): void {
    if (this.#failure !== undefined || this.#stream.destroyed) return;
    this.#failure = status;
    this.#stream.pause();
    const turn = this.#turn;
    if (turn === undefined) {
      answerRaw(this.#stream, status);
      return;
    }
    // The body that is broken is always the last request's.
    const broken = this.#waiting.at(-1) ?? turn;
    if (broken.request.complete) return;
    if (broken !== turn) this.#waiting.pop();
    else if (turn.response.headersSent) resetStream(this.#stream);
    else answerRaw(this.#stream, status);
  }

  /** After an upgrade the connection is the upgrade's own. */
  release(): void {
    this.#switched = true;
  }

  #start(turn: Turn): void {
    this.#turn = turn;
    turn.response.once('close', () => this.#next());
    turn.run();
  }

  #next(): void {
    this.#turn = undefined;
    this.#idleSince = performance.now();
    if (this.#stream.destroyed || this.#stream.writableEnded) return;
    const turn = this.#waiting.shift();
    if (turn !== undefined) this.#start(turn);
    else if (this.#failure !== undefined) answerRaw(this.#stream, this.#failure);
    else this.#stream.resume();
  }

  /**
   * What comes from now on is thrown away without being parsed. A client that goes on sending requests after the last
   * response would else fill the memory: Node keeps each of them, in their order, until the connection closes.
   */
  #discard(): void {
    if (this.#discards) return;
    this.#discards = true;
    this.#stream.removeAllListeners('data');
    this.#stream.on('data', () => undefined);
  }

  #startLinger(): void {
    if (this.#switched || this.#stream.destroyed) return;
    this.#discard();
    // To be read on, or its end would not be seen.
    this.#stream.resume();
    this.#linger = setTimeout(() => {
      if (isHttp2Stream(this.#stream)) resetStream(this.#stream);
      else this.#stream.destroy();
    }, LINGER_MS);
    this.#linger.unref();
  }
}
