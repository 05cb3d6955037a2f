import 'reflect-metadata';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { createServer, type Server } from 'node:https';
import type { AddressInfo, Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { KubeAccess } from '../../lib/kubernetes/access.ts';
import { TestCa } from '../unit/lib/mesh/identity/test-ca.ts';

export interface FakeObject {
  readonly apiVersion?: string;
  readonly kind?: string;
  readonly metadata: { readonly name: string; readonly namespace?: string };
}

export interface FakeAnswer {
  readonly status: number;
  readonly body: unknown;
}

interface Change {
  readonly version: number;
  readonly type: 'ADDED' | 'MODIFIED' | 'DELETED';
  readonly line: string;
}

interface Watch {
  readonly response: ServerResponse;
  readonly timer: NodeJS.Timeout;
}

interface Collection {
  readonly objects: Map<string, FakeObject>;
  readonly watches: Set<Watch>;
  history: Change[];
}

/**
 * A small API server for tests: real HTTPS, lists in pages, watches with bookmarks, and every way to fail on request.
 * It admits everything; what it says about one collection is what was put into it.
 */
export class FakeKubeApi implements AsyncDisposable {
  readonly #server: Server;
  readonly #dir: string;
  readonly #collections = new Map<string, Collection>();
  readonly #refused = new Map<string, number>();
  readonly #sockets = new Set<Socket>();
  #version = 100;
  /** Watches from before it are answered by 410. */
  #compactedTo = 0;
  #frozen = false;
  /** What the next requests are answered by, in place of an answer. */
  readonly failures: {
    readonly status: number;
    readonly body: string;
    readonly headers?: Record<string, string>;
  }[] = [];
  /** Of every request: `GET /api/v1/pods?limit=500`. */
  readonly requests: string[] = [];
  readonly tokens: string[] = [];
  token = 'first';
  /** What /readyz says. */
  ready = true;
  /** Answers what is no collection, or not by GET; undefined: it is unknown. */
  answer: ((method: string, path: string, body: unknown) => FakeAnswer | undefined) | undefined;
  /** How many connections were ever opened. */
  connections = 0;

  private constructor(server: Server, dir: string) {
    this.#server = server;
    this.#dir = dir;
    server.on('connection', (socket) => {
      this.connections += 1;
      this.#sockets.add(socket);
      socket.on('error', () => undefined);
      socket.on('close', () => this.#sockets.delete(socket));
    });
    server.on('request', (request, response) => this.#answer(request, response));
  }

  static async start(): Promise<FakeKubeApi> {
    const ca = await TestCa.root();
    const { certPem, keyPem } = await ca.issue([{ type: 'ip', value: '127.0.0.1' }]);
    const dir = await mkdtemp(join(tmpdir(), 'loam-kube-api-'));
    const server = createServer({ cert: certPem, key: keyPem });
    const fake = new FakeKubeApi(server, dir);
    await writeFile(join(dir, 'ca.crt'), ca.pem);
    await fake.setToken('first');
    await fake.listen();
    return fake;
  }

  async listen(port = 0): Promise<void> {
    this.#server.listen(port, '127.0.0.1');
    await once(this.#server, 'listening');
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  get access(): KubeAccess {
    return {
      server: `https://127.0.0.1:${this.port}`,
      caFile: join(this.#dir, 'ca.crt'),
      credentials: { kind: 'token', file: join(this.#dir, 'token') },
    };
  }

  /** The token that is wanted from now on, and that stands in the client's file. */
  async setToken(token: string): Promise<void> {
    await writeFile(join(this.#dir, 'token'), `${token}\n`);
    this.token = token;
  }

  /** Answers all requests for a collection with this status from now on; undefined: answers them again. */
  refuse(path: string, status: number | undefined): void {
    if (status === undefined) this.#refused.delete(path);
    else this.#refused.set(path, status);
  }

  /** Makes a kind known, as a CustomResourceDefinition does. */
  serve(...paths: string[]): void {
    for (const path of paths)
      this.#collections.set(path, { objects: new Map(), watches: new Set(), history: [] });
  }

  /** Takes a kind away, without a word to its watches but their end. */
  unserve(path: string): void {
    const collection = this.#collection(path);
    this.#collections.delete(path);
    for (const watch of collection.watches) end(watch);
  }

  put<T extends FakeObject>(path: string, object: T): void {
    const collection = this.#collection(path);
    const key = keyOf(object);
    const version = (this.#version += 1);
    const known = collection.objects.has(key);
    const stored = {
      ...object,
      metadata: { uid: `uid-${key}`, ...object.metadata, resourceVersion: String(version) },
    };
    collection.objects.set(key, stored);
    tell(collection, {
      version,
      type: known ? 'MODIFIED' : 'ADDED',
      line: eventLine(known ? 'MODIFIED' : 'ADDED', stored),
    });
  }

  remove(path: string, key: string): void {
    const collection = this.#collection(path);
    const object = collection.objects.get(key);
    if (object === undefined) throw new Error(`there is no ${key} in ${path}`);
    collection.objects.delete(key);
    const version = (this.#version += 1);
    const last = { ...object, metadata: { ...object.metadata, resourceVersion: String(version) } };
    tell(collection, { version, type: 'DELETED', line: eventLine('DELETED', last) });
  }

  bookmark(path: string): void {
    const object = { kind: 'x', metadata: { resourceVersion: String(this.#version) } };
    this.say(path, eventLine('BOOKMARK', object));
  }

  /** Sends a line as it is to the watches of a collection. */
  say(path: string, line: string): void {
    for (const { response } of this.#collection(path).watches) response.write(`${line}\n`);
  }

  /** Forgets the history: a watch from before gets 410 from now on. */
  compact(): void {
    this.#compactedTo = this.#version;
    for (const collection of this.#collections.values()) collection.history = [];
  }

  /** Ends every watch in good order. */
  endWatches(): void {
    for (const { watches } of this.#collections.values()) for (const watch of watches) end(watch);
  }

  /** Cuts every connection. */
  cut(): void {
    for (const socket of this.#sockets) socket.resetAndDestroy();
  }

  /** Goes on to take connections and requests, and says nothing. */
  freeze(frozen: boolean): void {
    this.#frozen = frozen;
  }

  watchers(path: string): number {
    return this.#collections.get(path)?.watches.size ?? 0;
  }

  /** Stops listening, with a reset of every connection. */
  async stop(): Promise<void> {
    const closed = once(this.#server, 'close');
    this.#server.close();
    this.cut();
    await closed;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const { watches } of this.#collections.values())
      for (const { timer } of watches) clearTimeout(timer);
    if (this.#server.listening) await this.stop();
    await rm(this.#dir, { recursive: true });
  }

  #collection(path: string): Collection {
    const found = this.#collections.get(path);
    if (found === undefined) throw new Error(`no collection ${path}`);
    return found;
  }

  #answer(request: IncomingMessage, response: ServerResponse): void {
    this.requests.push(`${request.method} ${request.url}`);
    if (this.#frozen) return;
    const failure = this.failures.shift();
    if (failure !== undefined) {
      response.writeHead(failure.status, failure.headers ?? {});
      response.end(failure.body);
      return;
    }
    const token = (request.headers.authorization ?? '').replace(/^Bearer /, '');
    this.tokens.push(token);
    if (token !== this.token) return refuse(response, 401, 'Unauthorized', 'who are you?');
    const url = new URL(request.url ?? '/', 'https://fake');
    if (url.pathname === '/readyz') {
      response.writeHead(this.ready ? 200 : 500);
      response.end(this.ready ? 'ok' : 'not yet');
      return;
    }
    const refused = this.#refused.get(url.pathname);
    if (refused !== undefined) return refuse(response, refused, 'Refused', 'not for you');
    const collection = this.#collections.get(url.pathname);
    if (collection === undefined || request.method !== 'GET')
      return void this.#answerOther(request, url, response);
    if (url.searchParams.get('watch') === 'true') this.#watch(collection, url.searchParams, response);
    else this.#list(collection, url.searchParams, response);
  }

  async #answerOther(request: IncomingMessage, { pathname }: URL, response: ServerResponse): Promise<void> {
    const text = (await request.toArray()).join('');
    const body: unknown = text === '' ? undefined : JSON.parse(text);
    const answer =
      this.answer?.(request.method ?? '', pathname, body) ??
      this.#objectAt(pathname, request.method === 'PATCH' ? (body as FakeObject) : undefined);
    if (answer === undefined)
      return refuse(response, 404, 'NotFound', 'the server could not find the requested resource');
    reply(response, answer.status, answer.body);
  }

  /** One object of a collection, as it is after what is applied. */
  #objectAt(
    path: string,
    applied?: FakeObject,
  ): { readonly status: number; readonly body: unknown } | undefined {
    const [, root = '', namespace = '', plural = '', name = ''] =
      /^(\/apis?(?:\/[^/]+){1,2})\/namespaces\/([^/]+)\/([^/]+)\/([^/]+)$/.exec(path) ?? [];
    const collection = this.#collections.get(`${root}/${plural}`);
    if (collection === undefined) return undefined;
    if (applied !== undefined) this.put(`${root}/${plural}`, applied);
    const body = collection.objects.get(`${namespace}/${name}`);
    return body === undefined ? undefined : { status: 200, body };
  }

  #list({ objects }: Collection, query: URLSearchParams, response: ServerResponse): void {
    const sorted = [...objects].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, object]) => object);
    const [version, from] = (query.get('continue') ?? `${this.#version}:0`).split(':').map(Number) as [
      number,
      number,
    ];
    if (version < this.#compactedTo) return refuse(response, 410, 'Expired', 'the continue token is too old');
    const to = from + Number(query.get('limit') ?? sorted.length);
    reply(response, 200, {
      kind: 'List',
      apiVersion: 'v1',
      metadata: {
        resourceVersion: String(version),
        ...(to < sorted.length && { continue: `${version}:${to}`, remainingItemCount: sorted.length - to }),
      },
      items: sorted.slice(from, to),
    });
  }

  #watch(collection: Collection, query: URLSearchParams, response: ServerResponse): void {
    const from = Number(query.get('resourceVersion'));
    response.writeHead(200, { 'content-type': 'application/json' });
    response.flushHeaders();
    if (from < this.#compactedTo) {
      response.end(`${eventLine('ERROR', statusObject(410, 'Expired', 'too old resource version'))}\n`);
      return;
    }
    for (const { version, line } of collection.history) if (version > from) response.write(`${line}\n`);
    const timer = setTimeout(() => response.end(), Number(query.get('timeoutSeconds') ?? 600) * 1000).unref();
    const watch: Watch = { response, timer };
    collection.watches.add(watch);
    response.on('close', () => {
      clearTimeout(timer);
      collection.watches.delete(watch);
    });
  }
}

function tell(collection: Collection, change: Change): void {
  collection.history.push(change);
  for (const { response } of collection.watches) response.write(`${change.line}\n`);
}

function end({ response, timer }: Watch): void {
  clearTimeout(timer);
  response.end();
}

function eventLine(type: string, object: unknown): string {
  return JSON.stringify({ type, object });
}

function statusObject(code: number, reason: string, message: string): object {
  return { kind: 'Status', apiVersion: 'v1', metadata: {}, status: 'Failure', code, reason, message };
}

function refuse(response: ServerResponse, code: number, reason: string, message: string): void {
  reply(response, code, statusObject(code, reason, message));
}

function reply(response: ServerResponse, code: number, body: unknown): void {
  response.writeHead(code, { 'content-type': 'application/json' });
  response.end(JSON.stringify(body));
}

function keyOf({ metadata: { name, namespace } }: FakeObject): string {
  return namespace === undefined ? name : `${namespace}/${name}`;
}
