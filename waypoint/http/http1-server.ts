import http from 'node:http';
import type { Duplex } from 'node:stream';
import { resetStream } from '../../lib/mesh/hbone/stream-reset.ts';
import { findHttp1Problem } from './http1-checks.ts';
import { Http1Connection } from './http1-connection.ts';
import type { Exchange, ExchangeHandler, IncomingHead } from './exchange.ts';
import type { Headers } from '../../lib/mesh/waypoint/request.ts';
import { isToken, trailersOf, withoutPrototype } from './headers.ts';
import type { HttpLimits } from './limits.ts';
import { takeTextsAsBytes } from './byte-writes.ts';

/** Called when a client broke the protocol before there was a request; the connection is answered and closed. */
export type ProtocolErrorHandler = (connection: Duplex, status: number, reason: string) => void;

/**
 * HTTP/1.1 on connections that come as byte streams. Node's parser is strict here: conflicting lengths, obsolete line
 * folding, bare line feeds and the like are refused with 400 (RFC 9112 sections 2.2, 5.2 and 6.3); see http1-checks.ts for
 * what it is not strict about.
 */
export class Http1Server {
  readonly #server: http.Server;
  readonly #connections = new Map<Duplex, Http1Connection>();
  readonly #limits: HttpLimits;
  readonly #onProtocolError: ProtocolErrorHandler;
  #draining = false;

  constructor(limits: HttpLimits, onProtocolError: ProtocolErrorHandler) {
    this.#limits = limits;
    this.#onProtocolError = onProtocolError;
    this.#server = http.createServer({
      maxHeaderSize: limits.maxHeaderBytes,
      headersTimeout: limits.headersTimeoutMs,
      // A body may take as long as it moves: see the idle timeout of the exchange.
      requestTimeout: 0,
      keepAliveTimeout: limits.connectionIdleTimeoutMs,
      connectionsCheckingInterval: 1_000,
      insecureHTTPParser: false,
      requireHostHeader: true,
      // Behind a request that waits for its answer, an upgrade is not taken up (RFC 9110 section 7.8 allows that).
      shouldUpgradeCallback: (request) =>
        upgradeOf(request) !== undefined &&
        this.#connections.get(request.socket)?.busy === false &&
        findHttp1Problem(request, limits) === undefined,
    });
    // Counted by findHttp1Problem; Node would drop those beyond its own bound.
    this.#server.maxHeadersCount = 0;
    this.#server.timeout = 0;
    this.#server.on('request', (request, response) => this.#serve(request, response, 'none'));
    this.#server.on('checkContinue', (request: http.IncomingMessage, response: http.ServerResponse) =>
      this.#serve(request, response, 'continue'),
    );
    this.#server.on('checkExpectation', (request: http.IncomingMessage, response: http.ServerResponse) =>
      this.#serve(request, response, 'unknown'),
    );
    this.#server.on('upgrade', (request: http.IncomingMessage, socket: Duplex, head: Buffer) =>
      this.#serveUpgrade(request, socket, head),
    );
    this.#server.on('connect', (_request, socket: Duplex) => this.#fail(socket, 405));
    this.#server.on('dropRequest', (_request, socket: Duplex) => socket.destroy());
    this.#server.on('clientError', (error: NodeJS.ErrnoException, socket: Duplex) => {
      if (socket.destroyed || this.#connections.get(socket)?.readable === false) return;
      const status = statusOfParseError(error.code);
      onProtocolError(socket, status, error.code ?? error.message);
      this.#fail(socket, status);
    });
    // Node watches the time of heads, and knows which connections are idle, only from this event on; it never listens.
    this.#server.emit('listening');
  }

  /** Serves HTTP/1.1 on a connection until it ends. */
  accept(connection: Duplex, handler: ExchangeHandler): void {
    this.#connections.set(connection, new Http1Connection(connection, handler));
    connection.once('close', () => this.#connections.delete(connection));
    this.#server.emit('connection', takeTextsAsBytes(connection));
    // It was paused while its protocol was found out, which a data listener alone does not undo.
    connection.resume();
  }

  /**
   * From now on each connection closes after its next response. One without a request stays open for that: a request may
   * be on its way to it, and would be lost.
   */
  drain(): void {
    this.#draining = true;
  }

  /** Closes the connections that have had no request for so long that none is likely to be on its way. */
  closeIdle(idleMs: number): void {
    for (const connection of this.#connections.values()) connection.closeIfIdle(idleMs);
  }

  close(): void {
    this.#server.close();
    // What is under way must not look whole.
    for (const connection of this.#connections.keys()) resetStream(connection);
    this.#server.closeAllConnections();
  }

  #fail(socket: Duplex, status: number): void {
    const connection = this.#connections.get(socket);
    if (connection !== undefined && socket.writable) connection.fail(status);
    else resetStream(socket);
  }

  #serve(
    request: http.IncomingMessage,
    response: http.ServerResponse,
    expectation: 'none' | 'continue' | 'unknown',
  ): void {
    const connection = this.#connections.get(request.socket);
    if (connection === undefined) {
      request.socket.destroy();
      return;
    }
    response.sendDate = false;
    const run = (): void => {
      if (this.#draining) response.shouldKeepAlive = false;
      const problem = findHttp1Problem(request, this.#limits);
      if (problem !== undefined) {
        this.#onProtocolError(request.socket, problem.status, problem.reason);
        refuse(request, response, problem.status);
      } else if (expectation === 'unknown') refuse(request, response, 417);
      else connection.handler(new Http1Exchange(request, response, expectation === 'continue', undefined));
    };
    connection.take({ request, response, run });
  }

  #serveUpgrade(request: http.IncomingMessage, socket: Duplex, head: Buffer): void {
    const connection = this.#connections.get(socket);
    if (connection === undefined) {
      socket.destroy();
      return;
    }
    if (head.length > 0) socket.unshift(head);
    // Node took its parser off the socket; a refused upgrade is answered by a response that ends the connection.
    const response = new http.ServerResponse(request);
    response.sendDate = false;
    response.shouldKeepAlive = false;
    response.assignSocket(socket as unknown as import('node:net').Socket);
    response.once('finish', () => {
      if (!socket.destroyed) socket.end();
    });
    socket.on('error', () => undefined);
    connection.handler(
      new Http1Exchange(request, response, false, upgradeOf(request), () => connection.release()),
    );
  }
}

/** Ends the connection too: what follows such a request is not to be trusted. */
function refuse(request: http.IncomingMessage, response: http.ServerResponse, status: number): void {
  request.on('error', () => undefined);
  response.on('error', () => undefined);
  request.resume();
  response.shouldKeepAlive = false;
  response.writeHead(status, { 'content-length': 0 });
  response.end();
}

/** The one protocol that a request asks to switch to; h2c is none that we would leave HTTP for (RFC 9113 section 3.1). */
function upgradeOf(request: http.IncomingMessage): string | undefined {
  const upgrade = request.headers.upgrade?.toLowerCase().trim();
  if (upgrade === undefined || upgrade.startsWith('h2c')) return undefined;
  const [name = '', version, ...more] = upgrade.split('/');
  // A list could offer h2c behind another protocol.
  if (!isToken(name) || (version !== undefined && !isToken(version)) || more.length > 0) return undefined;
  const hasBody =
    request.headers['transfer-encoding'] !== undefined || Number(request.headers['content-length'] ?? 0) > 0;
  return hasBody ? undefined : upgrade;
}

function statusOfParseError(code: string | undefined): number {
  switch (code) {
    case 'HPE_HEADER_OVERFLOW':
      return 431;
    case 'HPE_CHUNK_EXTENSIONS_OVERFLOW':
      return 413;
    case 'ERR_HTTP_REQUEST_TIMEOUT':
      return 408;
    default:
      return 400;
  }
}

class Http1Exchange implements Exchange {
  readonly incoming: IncomingHead;
  readonly body: http.IncomingMessage | undefined;
  readonly expectsContinue: boolean;
  readonly upgrade: string | undefined;
  readonly #request: http.IncomingMessage;
  readonly #response: http.ServerResponse;
  readonly #onSwitch: () => void;
  #headSent = false;
  #switched = false;

  constructor(
    request: http.IncomingMessage,
    response: http.ServerResponse,
    expectsContinue: boolean,
    upgrade: string | undefined,
    onSwitch: () => void = () => undefined,
  ) {
    this.#request = request;
    this.#onSwitch = onSwitch;
    this.#response = response;
    this.expectsContinue = expectsContinue;
    this.upgrade = upgrade;
    const headers = withoutPrototype(request.headers);
    const hasBody =
      upgrade === undefined &&
      (headers['transfer-encoding'] !== undefined || Number(headers['content-length'] ?? 0) > 0);
    this.body = hasBody ? request : undefined;
    if (!hasBody) request.resume();
    this.incoming = {
      method: request.method ?? '',
      authority: (request.headers.host ?? '').toLowerCase(),
      target: request.url ?? '/',
      protocol: 'http1',
      headers,
    };
    request.on('error', () => undefined);
    response.on('error', () => undefined);
  }

  get out(): http.ServerResponse {
    return this.#response;
  }

  get headSent(): boolean {
    return this.#headSent;
  }

  get aborted(): boolean {
    return this.#request.socket.destroyed || (this.#response.closed && !this.#response.writableFinished);
  }

  requestTrailers(): Headers {
    return trailersOf(this.#request.trailers);
  }

  informational(status: number, headers: Headers): void {
    if (this.#headSent || this.#request.httpVersionMinor === 0 || this.aborted) return;
    if (status === 100) this.#response.writeContinue();
    else if (status === 103) {
      const link = headers['link'];
      if (link !== undefined) this.#response.writeEarlyHints({ link });
    } else if (status === 102) this.#response.writeProcessing();
  }

  respond(status: number, headers: Headers, endStream: boolean): void {
    if (this.#headSent || this.aborted) return;
    this.#headSent = true;
    if (headers['trailer'] !== undefined && headers['content-length'] === undefined && !endStream) {
      // Trailers need chunks, which Node chooses by itself where no length is given.
      this.#response.useChunkedEncodingByDefault = this.#request.httpVersionMinor > 0;
    }
    this.#response.writeHead(status, headers);
    if (endStream) this.#response.end();
    else this.#response.flushHeaders();
  }

  respondWhole(status: number, headers: Headers, body: Buffer): void {
    if (this.#headSent || this.aborted) return;
    this.#headSent = true;
    this.#response.writeHead(status, headers);
    this.#response.end(body);
  }

  endWithTrailers(trailers: Headers): void {
    if (Object.keys(trailers).length > 0 && !this.#response.writableEnded && this.#response.chunkedEncoding) {
      this.#response.addTrailers(trailers);
    }
    this.#response.end();
  }

  switchProtocols(headers: Headers): Duplex {
    this.#headSent = true;
    this.#switched = true;
    this.#onSwitch();
    const socket = this.#request.socket;
    this.#response.detachSocket(socket);
    const lines = ['HTTP/1.1 101 Switching Protocols'];
    for (const [name, value] of Object.entries(headers)) {
      for (const each of Array.isArray(value) ? value : [value])
        if (each !== undefined) lines.push(`${name}: ${each}`);
    }
    socket.write(`${lines.join('\r\n')}\r\n\r\n`, 'latin1');
    return socket;
  }

  reset(): void {
    // After the head, only a broken connection tells an HTTP/1.1 client that the rest is missing.
    resetStream(this.#request.socket);
  }

  onAbort(listener: () => void): void {
    this.#response.once('close', () => {
      if (!this.#response.writableFinished && !this.#switched) listener();
    });
  }
}
