import { randomBytes, timingSafeEqual } from 'node:crypto';
import { once } from 'node:events';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { errorText } from '../../lib/loam-error.ts';
import { MeshError } from '../mesh/errors.ts';
import type { PageFiles } from './page-files.ts';

const LOOPBACK = '127.0.0.1';
const TOKEN_BYTES = 24;
const MAX_CONNECTIONS = 64;

/**
 * Nothing but what this server itself serves runs in the page, and nobody may frame it. Trusted Types: no text becomes
 * script or markup.
 */
const POLICY = [
  "default-src 'none'",
  ...[
    "script-src 'self'",
    "style-src 'self'",
    "img-src 'self' data:",
    "connect-src 'self'",
    "worker-src 'self'",
  ],
  ...["base-uri 'none'", "form-action 'none'", "frame-ancestors 'none'"],
  "require-trusted-types-for 'script'",
  'trusted-types loam',
].join('; ');

const HEADERS = {
  'content-security-policy': POLICY,
  'x-content-type-options': 'nosniff',
  'referrer-policy': 'no-referrer',
  'cross-origin-opener-policy': 'same-origin',
  'cross-origin-resource-policy': 'same-origin',
  'cache-control': 'no-store',
} as const;

const ANY_PORT = 'leave out --port for any free one';

/** What to say of a port that could not be listened on. */
export function whyNoPort(port: number, { code, message }: NodeJS.ErrnoException): string {
  switch (code) {
    case 'EADDRINUSE':
      return `port ${port} is taken by another program; ${ANY_PORT}`;
    case 'EACCES':
      return `port ${port} is not yours to take (those below 1024 are root's); ${ANY_PORT}`;
    default:
      return `port ${port} cannot be had: ${message}; ${ANY_PORT}`;
  }
}

/** Answers `GET /api/NAME`; writes head and body. */
export type ApiHandler = (query: URLSearchParams, response: ServerResponse) => void;

export interface DashboardServerOptions {
  /** 0: any free one. */
  readonly port: number;
  readonly files: PageFiles;
  /** By the part of the path after `/api/`. */
  readonly api: Readonly<Record<string, ApiHandler>>;
}

/**
 * Serves the dashboard to the browsers of this machine. The page's own files are no secret; all that it asks needs the token of
 * this start, which stands in the address's fragment (never sent, never in a log) and goes as a header that no other site's page
 * can set. A name that leads to 127.0.0.1 (DNS rebinding) does not: `Host` must be this address.
 */
export class DashboardServer {
  readonly #options: DashboardServerOptions;
  readonly #server: Server;
  readonly #token = randomBytes(TOKEN_BYTES).toString('base64url');

  constructor(options: DashboardServerOptions) {
    this.#options = options;
    this.#server = createServer({ headersTimeout: 5_000, requestTimeout: 10_000 }, (request, response) => {
      request.resume();
      response.on('error', () => undefined);
      this.#serve(request, response);
    });
    this.#server.maxConnections = MAX_CONNECTIONS;
  }

  /** @returns the address to open, with the token. @throws MeshError MESH_INPUT when the port cannot be had */
  async start(): Promise<string> {
    const { port } = this.#options;
    this.#server.listen(port, LOOPBACK);
    await once(this.#server, 'listening').catch((cause: NodeJS.ErrnoException) => {
      // Without its cause, which would be said once more behind it.
      throw new MeshError('MESH_INPUT', whyNoPort(port, cause));
    });
    return `http://${LOOPBACK}:${this.#port}/#token=${this.#token}`;
  }

  async close(): Promise<void> {
    const closed = once(this.#server, 'close');
    this.#server.close();
    this.#server.closeAllConnections();
    await closed;
  }

  get #port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  #serve(request: IncomingMessage, response: ServerResponse): void {
    const { host = '' } = request.headers;
    if (![`${LOOPBACK}:${this.#port}`, `localhost:${this.#port}`].includes(host))
      return answer(response, 421, 'this is the dashboard of a mesh, at its own address only');
    if (request.method !== 'GET' && request.method !== 'HEAD') return answer(response, 405, 'only GET');
    const url = new URL(request.url ?? '/', `http://${LOOPBACK}`);
    if (!url.pathname.startsWith('/api/')) return this.#file(url.pathname, response);
    if (!this.#isAuthorised(request))
      return answer(response, 401, 'the token is missing or of another start');
    const { api } = this.#options;
    const name = url.pathname.slice('/api/'.length);
    const handler = Object.hasOwn(api, name) ? api[name] : undefined;
    if (handler === undefined) return answer(response, 404, `there is: ${Object.keys(api).join(', ')}`);
    try {
      handler(url.searchParams, response);
    } catch (error) {
      if (response.headersSent) response.destroy();
      else answer(response, 500, errorText(error));
    }
  }

  #isAuthorised(request: IncomingMessage): boolean {
    const given = Buffer.from(request.headers.authorization ?? '');
    const wanted = Buffer.from(`Bearer ${this.#token}`);
    return given.length === wanted.length && timingSafeEqual(given, wanted);
  }

  #file(path: string, response: ServerResponse): void {
    const file = this.#options.files.get(path === '/' ? '/index.html' : path);
    if (file === undefined) return answer(response, 404, 'no such page');
    response.writeHead(200, { ...HEADERS, 'content-type': file.type, 'content-length': file.bytes.length });
    response.end(file.bytes);
  }
}

export function answer(response: ServerResponse, status: number, text: string): void {
  response.writeHead(status, { ...HEADERS, 'content-type': 'text/plain; charset=utf-8' });
  response.end(`${text}\n`);
}

export function answerJson(response: ServerResponse, value: unknown): void {
  response.writeHead(200, { ...HEADERS, 'content-type': 'application/json' });
  response.end(JSON.stringify(value));
}

/** Begins an answer of JSON lines. */
export function beginLines(response: ServerResponse): void {
  response.writeHead(200, { ...HEADERS, 'content-type': 'application/x-ndjson' });
  response.flushHeaders();
}
