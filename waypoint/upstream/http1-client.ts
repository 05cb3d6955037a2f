import http from 'node:http';
import { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { MAX_INTERIM_RESPONSES } from '../http/limits.ts';
import { onceEnded } from '../../lib/mesh/hbone/stream-reset.ts';
import { takeTextsAsBytes } from '../http/byte-writes.ts';
import {
  AttemptError,
  type AttemptRequest,
  type UpstreamAttempt,
  type UpstreamClient,
  type UpstreamResponse,
} from '../http/exchange.ts';
import { removeHopByHop, trailersOf, withoutPrototype } from '../http/headers.ts';
import type { Headers } from '../../lib/mesh/waypoint/request.ts';
import { IDLE_CONNECTION_MS, type Connector } from './connector.ts';

const EMPTY = Buffer.alloc(0);
/** For so long the other side may take to close a connection whose last response is complete. */
const LINGER_MS = 1_000;
/** So much before the endpoint would close it is a connection not used again: a request on its way would meet the end, and be lost. */
const HINT_MARGIN_MS = 1_000;
const MAX_RESPONSE_HEADER_BYTES = 64 * 1024;
/** RFC 9110 section 9.2.2. */
const IDEMPOTENT: ReadonlySet<string> = new Set(['GET', 'HEAD', 'OPTIONS', 'TRACE', 'PUT', 'DELETE']);

/** HTTP/1.1 to one endpoint, on connections that are kept and used again. */
export class Http1Client implements UpstreamClient {
  readonly #agent: EndpointAgent;

  /**
   * @param usedUp whether a connection that has carried so many requests takes no more
   * @param onFree called when a connection became free
   */
  constructor(connector: Connector, usedUp: (requests: number) => boolean, onFree: () => void) {
    this.#agent = new EndpointAgent(connector, usedUp, onFree);
  }

  /** Whether the next request needs no new connection. */
  get hasFree(): boolean {
    // Node takes the one that was used last.
    return this.#agent.freeSockets['']?.at(-1)?.destroyed === false;
  }

  /** Makes room for a connection elsewhere. @returns false when none is idle */
  closeOneIdle(): boolean {
    const idle = this.#agent.freeSockets['']?.find((socket) => !socket.destroyed);
    idle?.destroy();
    return idle !== undefined;
  }

  /** Connections open now, idle ones too. */
  get connections(): number {
    return this.#agent.open;
  }

  request(request: AttemptRequest): UpstreamAttempt {
    return new Http1Attempt(this.#agent, request);
  }

  /** Closes idle connections now, and the others after their response. */
  retire(): void {
    this.#agent.retired = true;
    for (const sockets of Object.values(this.#agent.freeSockets)) {
      for (const socket of sockets ?? []) socket.destroy();
    }
  }
}

/** What Node's class has and its types do not tell. */
const nodeAgent = http.Agent.prototype as http.Agent & {
  addRequest(request: http.ClientRequest, options: http.ClientRequestArgs): void;
};

/** Node's pool of connections, over byte streams instead of sockets. */
class EndpointAgent extends http.Agent {
  readonly #connector: Connector;
  readonly #usedUp: (requests: number) => boolean;
  readonly #onFree: () => void;
  readonly #carried = new WeakMap<Duplex, number>();
  readonly #guards = new WeakMap<Duplex, () => void>();
  /** How long the endpoint says that it keeps each. */
  readonly #hints = new WeakMap<Duplex, number>();
  retired = false;
  open = 0;
  /** Set while a request is made that wants a new connection. */
  fresh = false;

  constructor(connector: Connector, usedUp: (requests: number) => boolean, onFree: () => void) {
    super({ keepAlive: true, maxSockets: Infinity, maxFreeSockets: 1024, scheduling: 'lifo' });
    this.#connector = connector;
    this.#usedUp = usedUp;
    this.#onFree = onFree;
  }

  /** Node's own, which takes an idle connection where there is one, as long as {@link fresh} is not set. */
  addRequest(request: http.ClientRequest, options: http.ClientRequestArgs): void {
    const idle = this.freeSockets[''];
    const hidden = this.fresh && idle !== undefined;
    if (hidden) delete (this.freeSockets as Partial<Record<string, unknown>>)[''];
    nodeAgent.addRequest.call(this, request, options);
    // A connection is never made in this turn, so none can have been put there meanwhile.
    if (hidden) (this.freeSockets as Record<string, unknown>)[''] = idle;
  }

  override getName(): string {
    return '';
  }

  override createConnection(
    _options: http.ClientRequestArgs,
    callback?: (error: Error | null, stream: Duplex) => void,
  ): undefined {
    this.#connector.connect().then(
      (stream) => {
        this.open += 1;
        stream.once('close', () => (this.open -= 1));
        endSoon(stream);
        watchCut(stream);
        callback?.(null, takeTextsAsBytes(stream));
      },
      (error: Error) => callback?.(new ConnectError(error), undefined as unknown as Duplex),
    );
    return undefined;
  }

  // Node's own calls methods that only sockets have.
  override keepSocketAlive(stream: Duplex): boolean {
    const carried = (this.#carried.get(stream) ?? 0) + 1;
    this.#carried.set(stream, carried);
    const keptMs = Math.min(IDLE_CONNECTION_MS, this.#hints.get(stream) ?? Infinity);
    if (this.retired || this.#usedUp(carried) || keptMs <= 0) return false;
    setImmediate(this.#onFree);
    // At the timeout the agent itself closes what is still free.
    (stream as Duplex & { setTimeout?: (ms: number) => void }).setTimeout?.(keptMs);
    if (!(stream instanceof Socket)) {
      // What comes unasked would be taken for the answer to the next request; Node guards only its own sockets.
      const guard = (): void => void stream.destroy();
      this.#guards.set(stream, guard);
      stream.once('data', guard);
      stream.once('end', guard);
    }
    return true;
  }

  /** Notes what a response says of its connection: `Keep-Alive: timeout=5`, in seconds (RFC 2068 section 19.7.1.1). */
  noteHint(stream: Duplex, keepAlive: string | string[] | undefined): void {
    const seconds = /(?:^|[\s,;])timeout=(\d{1,9})/i.exec(String(keepAlive ?? ''))?.[1];
    if (seconds !== undefined) this.#hints.set(stream, Number(seconds) * 1_000 - HINT_MARGIN_MS);
  }

  override reuseSocket(stream: Duplex, request: http.ClientRequest): void {
    if (stream instanceof Socket) {
      super.reuseSocket(stream, request);
      stream.setTimeout(0);
      return;
    }
    const guard = this.#guards.get(stream);
    if (guard !== undefined) {
      stream.off('data', guard);
      stream.off('end', guard);
    }
    // Node's own takes its listeners off too; it asks for a method that only sockets have.
    super.reuseSocket(Object.assign(stream, { ref: () => stream }), request);
    (stream as Duplex & { setTimeout?: (ms: number) => void }).setTimeout?.(0);
  }
}

/**
 * Gives a stream the method by which Node closes a connection after its last response. One that the other side leaves half
 * open would else stay.
 */
function endSoon(stream: Duplex): void {
  if (stream instanceof Socket) return;
  (stream as Duplex & { destroySoon?: () => void }).destroySoon = () => {
    stream.end();
    const timer = setTimeout(() => stream.destroy(), LINGER_MS);
    stream.once('close', () => clearTimeout(timer));
  };
}

/** Connections that broke. A body that only the end of its connection ends is complete to Node then, too. */
const cut = new WeakSet<Duplex>();

function watchCut(stream: Duplex): void {
  // Before Node's own listeners, which complete the response.
  stream.once('error', () => cut.add(stream));
  onceEnded(stream, (early) => {
    if (early) cut.add(stream);
  });
}

class ConnectError extends Error {
  constructor(cause: Error) {
    super(cause.message, { cause });
  }
}

class Http1Attempt implements UpstreamAttempt {
  readonly body: http.ClientRequest | undefined;
  readonly response: Promise<UpstreamResponse>;
  readonly #request: http.ClientRequest;
  readonly #chunked: boolean;
  readonly #settled = Promise.withResolvers<UpstreamResponse>();

  constructor(agent: EndpointAgent, attempt: AttemptRequest) {
    const { head, headers, hasBody, upgrade, onInformational, fresh = false } = attempt;
    const { method } = head;
    const outgoing: Headers = headers;
    outgoing['host'] = head.authority;
    if (upgrade !== undefined) {
      outgoing['connection'] = 'upgrade';
      outgoing['upgrade'] = upgrade;
    } else if (outgoing['te'] !== undefined) {
      outgoing['connection'] = 'te';
    }
    // A length that is not known needs chunks, whatever the method.
    this.#chunked = hasBody && outgoing['content-length'] === undefined;
    if (this.#chunked) outgoing['transfer-encoding'] = 'chunked';
    agent.fresh = fresh;
    const request = http.request({
      agent,
      method,
      path: head.query === '' ? head.path : `${head.path}?${head.query}`,
      headers: headerList(outgoing),
      setHost: false,
      setDefaultHeaders: false,
      maxHeaderSize: MAX_RESPONSE_HEADER_BYTES,
      insecureHTTPParser: false,
    });
    agent.fresh = false;
    this.#request = request;
    const settled = this.#settled;
    this.response = settled.promise;
    // Whoever aborts may not look at it any more.
    this.response.catch(() => undefined);
    request.on('error', (error: NodeJS.ErrnoException) => settled.reject(this.#failure(error, method)));
    request.on('socket', (stream: Duplex) => {
      // It ended between being chosen and being used, and will say so to nobody any more.
      if (!stream.destroyed && !stream.readableEnded) return;
      settled.reject(
        new AttemptError({ kind: 'refused', error: new Error('the connection closed before it was used') }),
      );
      stream.destroy();
      request.destroy();
    });
    const refuse = (why: string): void => {
      const error = new Error(why);
      settled.reject(new AttemptError({ kind: 'protocol', error }));
      request.destroy(error);
    };
    request.on('response', (response) => {
      response.on('error', () => undefined);
      // Node's parser knows more versions than a server may answer with (RFC 9112 section 2.3).
      const connection = request.socket as Duplex;
      agent.noteHint(connection, response.headers['keep-alive']);
      if (response.httpVersionMajor !== 1) refuse(`a response of HTTP/${response.httpVersion}`);
      else settled.resolve(upstreamResponse(response, connection));
    });
    request.on('upgrade', (response: http.IncomingMessage, socket: Duplex, first: Buffer) => {
      if (upgrade === undefined) {
        // Nobody asked: what follows belongs to no protocol that the client speaks.
        const error = new Error('the endpoint switched protocols without being asked');
        settled.reject(new AttemptError({ kind: 'protocol', error }));
        socket.on('error', () => undefined);
        socket.destroy();
        return;
      }
      if (first.length > 0) socket.unshift(first);
      settled.resolve({
        status: 101,
        headers: upgradeHeaders(response),
        body: undefined,
        takeWhole: () => undefined,
        trailers: () => ({}),
        upgraded: socket,
      });
    });
    // 100 comes here too, beside an event of its own.
    let interim = 0;
    request.on('information', (info) => {
      interim += 1;
      if (interim === MAX_INTERIM_RESPONSES + 1) refuse('too many interim responses');
      if (interim > MAX_INTERIM_RESPONSES) return;
      if (info.statusCode !== 101) onInformational(info.statusCode, withoutPrototype(info.headers));
    });
    if (hasBody) {
      this.body = request;
      request.flushHeaders();
    } else request.end();
  }

  endBody(trailers: Headers): void {
    if (this.#chunked && Object.keys(trailers).length > 0) {
      this.#request.addTrailers(trailers);
    }
    this.#request.end();
  }

  abort(): void {
    // At once: a connection that is being made may take longer than whoever gave up would wait.
    this.#settled.reject(new AttemptError({ kind: 'aborted' }));
    this.#request.destroy();
  }

  complete(): void {
    if (!this.#request.writableFinished) this.abort();
  }

  #failure(error: NodeJS.ErrnoException, method: string): AttemptError {
    if (error instanceof ConnectError) return new AttemptError({ kind: 'connect', error });
    if (error.code?.startsWith('HPE_') === true) return new AttemptError({ kind: 'protocol', error });
    // The server closed an idle connection just when it was used again; nothing answered, and to repeat does no harm
    // (RFC 9112 section 9.3.1).
    if (this.#request.reusedSocket && IDEMPOTENT.has(method))
      return new AttemptError({ kind: 'refused', error });
    return new AttemptError({ kind: 'reset', error });
  }
}

/** Names and values in turn: Node writes a list at once, and copies an object into its own form before. */
function headerList(headers: Headers): string[] {
  const list: string[] = [];
  for (const name in headers) {
    const value = headers[name];
    if (typeof value === 'string') list.push(name, value);
    else for (const each of value ?? []) list.push(name, each);
  }
  return list;
}

function upstreamResponse(response: http.IncomingMessage, connection: Duplex): UpstreamResponse {
  const framed =
    response.headers['content-length'] !== undefined || response.headers['transfer-encoding'] !== undefined;
  const isCut = (): boolean => !framed && cut.has(connection);
  const headers = withoutPrototype(response.headers);
  removeHopByHop(headers);
  return {
    status: response.statusCode ?? 502,
    headers,
    body: response,
    takeWhole: () => (isCut() ? undefined : takeWhole(response)),
    isCut,
    trailers: () => trailersOf(response.trailers),
    upgraded: undefined,
  };
}

/** Small responses mostly come with one read: what is complete needs no listeners and no timers. */
function takeWhole(response: http.IncomingMessage): Buffer | undefined {
  if (!response.complete || response.rawTrailers.length > 0 || response.destroyed) return undefined;
  const parts: Buffer[] = [];
  // One call gives one of the pieces only, where the response flows already.
  for (let part = response.read() as Buffer | null; part !== null; part = response.read() as Buffer | null)
    parts.push(part);
  const [only = EMPTY] = parts;
  return parts.length > 1 ? Buffer.concat(parts) : only;
}

function upgradeHeaders(response: http.IncomingMessage): Headers {
  const headers = withoutPrototype(response.headers);
  const upgrade = headers['upgrade'];
  removeHopByHop(headers);
  headers['connection'] = 'upgrade';
  headers['upgrade'] = upgrade;
  return headers;
}
