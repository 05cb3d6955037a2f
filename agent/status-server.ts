/** Status by HTTP over a unix socket of mode 0600: GET /status, /metrics, /observe, /healthz/ready and /logging, POST /logging. */
import { lstatSync, unlinkSync } from 'node:fs';
import { createServer, type Server, type ServerResponse } from 'node:http';
import { connect } from 'node:net';
import type { Answer } from '../lib/admin/http-routes.ts';
import { logLevelAnswer, setLogLevelAnswer, type LogLevelControl } from '../lib/admin/log-level.ts';
import { errorText } from '../lib/loam-error.ts';
import { listenPrivately } from './private-listener.ts';
import type { Readiness, Status } from './status.ts';

export interface StatusServerOptions {
  readonly path: string;
  status(): Status;
  /** The page of Prometheus. */
  metrics(): string;
  readiness(): Readiness;
  /** Begins to tell what is observed; false, with nothing written: to too many already. */
  observe(response: ServerResponse): boolean;
  readonly logging: LogLevelControl;
}

export class StatusServer {
  readonly #server: Server;

  private constructor(server: Server) {
    this.#server = server;
  }

  /**
   * Listens; a socket file that a killed process left is replaced.
   *
   * @throws Error EADDRINUSE when a live process listens there
   */
  static async listen(options: StatusServerOptions): Promise<StatusServer> {
    await removeStale(options.path);
    const server = createServer({ requestTimeout: 5000, headersTimeout: 5000 }, (request, response) => {
      request.resume();
      try {
        answer(options, request.method ?? '', request.url ?? '', response);
      } catch (error) {
        send(response, 500, { error: errorText(error) });
      }
    });
    await listenPrivately(server, options.path);
    return new StatusServer(server);
  }

  async close(): Promise<void> {
    const closed = new Promise((resolve) => this.#server.close(resolve));
    this.#server.closeAllConnections();
    await closed;
  }
}

function answer(options: StatusServerOptions, method: string, url: string, response: ServerResponse): void {
  const [path = '', query = ''] = url.split('?', 2);
  if (path === '/logging' && method === 'POST') {
    sendText(response, setLogLevelAnswer(options.logging, new URLSearchParams(query)));
  } else if (method !== 'GET' && method !== 'HEAD') {
    send(response, 405, { error: 'only GET, and POST /logging' });
  } else if (path === '/logging') {
    sendText(response, logLevelAnswer(options.logging));
  } else if (url === '/status') {
    send(response, 200, options.status());
  } else if (url === '/metrics') {
    const page = options.metrics();
    response.on('error', () => undefined);
    response.writeHead(200, { 'content-type': 'text/plain; version=0.0.4; charset=utf-8' });
    response.end(page);
  } else if (url === '/observe') {
    if (!options.observe(response)) send(response, 503, { error: 'others follow already, as many as may' });
  } else if (url === '/healthz/ready') {
    const readiness = options.readiness();
    send(response, readiness.ready ? 200 : 503, readiness);
  } else {
    send(response, 404, {
      error: 'no such page; there are /status, /metrics, /logging, /observe and /healthz/ready',
    });
  }
}

function send(response: ServerResponse, code: number, body: unknown): void {
  response.on('error', () => undefined);
  response.writeHead(code, { 'content-type': 'application/json' });
  response.end(`${JSON.stringify(body)}\n`);
}

function sendText(response: ServerResponse, { status, type, body }: Answer): void {
  response.on('error', () => undefined);
  response.writeHead(status, { 'content-type': type });
  response.end(body);
}

async function removeStale(path: string): Promise<void> {
  const found = lstatSync(path, { throwIfNoEntry: false });
  if (found === undefined) return;
  if (!found.isSocket()) throw new Error(`${path} exists and is not a socket`);
  const live = await new Promise<boolean>((resolve) => {
    const probe = connect(path);
    probe.once('connect', () => resolve(true));
    probe.once('error', () => resolve(false));
    probe.once('close', () => probe.destroy());
    probe.once('connect', () => probe.destroy());
  });
  if (live) throw new Error(`another process listens on ${path}`);
  unlinkSync(path);
}
