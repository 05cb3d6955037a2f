import { chmodSync, lstatSync, rmSync } from 'node:fs';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { connect } from 'node:net';
import type { Logger } from 'pino';
import type { ListenAddress } from '../../lib/admin/listen-address.ts';
import { logLevelAnswer, setLogLevelAnswer, type LogLevelControl } from '../../lib/admin/log-level.ts';
import { ControllerError } from '../errors.ts';
import type { Kind, KubeObject } from '../model/objects.ts';
import { type ObjectSet, objectsOf, type SourceGate } from '../sources/source.ts';
import type { StatusReport } from './report.ts';

export interface StatusServerOptions {
  readonly path: string;
  /** A loopback address where the same is served, if anywhere: in a pod, for who may forward ports to it. */
  readonly admin?: ListenAddress | undefined;
  readonly gates: () => readonly SourceGate[];
  readonly report: () => StatusReport;
  readonly objects: () => ObjectSet;
  readonly onObjects: (listener: () => void, signal: AbortSignal) => void;
  readonly log: Logger;
}

const SOCKET_MODE = 0o600;
const OWNER_ONLY_UMASK = 0o177;
const MAX_WATCHERS = 64;
const MAX_ADMIN_CONNECTIONS = 64;
const PROBE_TIMEOUT_MS = 1000;

/** The status API: HTTP over a unix socket that only its owner may open, and over loopback where that is asked for. */
export class StatusServer {
  readonly #options: StatusServerOptions;
  readonly #server: Server;
  readonly #admin: Server | undefined;
  readonly #closed = new AbortController();
  readonly #logging: LogLevelControl;
  #watchers = 0;

  constructor(options: StatusServerOptions) {
    this.#options = options;
    const { log } = options;
    this.#logging = { logLevel: () => log.level, setLogLevel: (level) => (log.level = level) };
    this.#server = this.#listener();
    this.#admin = options.admin && this.#listener();
    if (this.#admin !== undefined) this.#admin.maxConnections = MAX_ADMIN_CONNECTIONS;
  }

  #listener(): Server {
    const server = createServer((request, response) => this.#serve(request, response));
    server.on('connection', (socket) =>
      socket.on('error', (error) => this.#options.log.debug({ reason: error.message }, 'status client')),
    );
    return server;
  }

  /** @throws ControllerError LISTEN when the path is taken by another process or by something that is no socket */
  async start(): Promise<void> {
    const { path, admin } = this.#options;
    await clearStaleSocket(path);
    await new Promise<void>((resolve, reject) => {
      this.#server.once('error', (cause) =>
        reject(new ControllerError('LISTEN', `status socket ${path} cannot be opened`, { cause })),
      );
      // The socket is bound within this call, so that nobody else can open it even for a moment.
      const before = process.umask(OWNER_ONLY_UMASK);
      try {
        this.#server.listen(path, resolve);
      } finally {
        process.umask(before);
      }
    });
    chmodSync(path, SOCKET_MODE);
    if (admin !== undefined) await this.#listenAt(admin);
  }

  async close(): Promise<void> {
    this.#closed.abort();
    for (const server of [this.#server, this.#admin]) {
      if (server === undefined) continue;
      await new Promise<void>((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      });
    }
  }

  async #listenAt({ host, port }: ListenAddress): Promise<void> {
    const server = this.#admin;
    await new Promise<void>((resolve, reject) => {
      server?.once('error', (cause) =>
        reject(new ControllerError('LISTEN', `${host}:${port} cannot be listened on`, { cause })),
      );
      server?.listen(port, host, resolve);
    });
  }

  #serve(request: IncomingMessage, response: ServerResponse): void {
    response.on('error', (error) => this.#options.log.debug({ reason: error.message }, 'status client'));
    const url = new URL(request.url ?? '/', 'http://controller');
    // A browser says where a request comes from; nothing here is meant for web pages.
    if (request.method !== 'GET' && request.headers.origin !== undefined) {
      reply(response, 403, { error: 'not for browsers' });
      return;
    }
    if (url.pathname === '/logging' && (request.method === 'GET' || request.method === 'POST')) {
      const { status, type, body } =
        request.method === 'GET'
          ? logLevelAnswer(this.#logging)
          : setLogLevelAnswer(this.#logging, url.searchParams);
      response.writeHead(status, { 'content-type': type });
      response.end(body);
      return;
    }
    if (request.method !== 'GET') {
      reply(response, 405, { error: 'only GET is served, and POST /logging' });
      return;
    }
    switch (url.pathname) {
      case '/healthz/ready': {
        const gates = this.#options.gates();
        const ready = gates.every((gate) => gate.ready);
        reply(response, ready ? 200 : 503, { ready, gates });
        return;
      }
      case '/v1/status':
        reply(response, 200, this.#options.report());
        return;
      case '/v1/objects':
        if (url.searchParams.get('watch') === '1') this.#watchObjects(response);
        else reply(response, 200, objectsView(this.#options.objects(), url.searchParams.get('all') === '1'));
        return;
      default:
        reply(response, 404, {
          error:
            'allowed: /healthz/ready, /logging, /v1/status, /v1/objects, /v1/objects?all=1, /v1/objects?watch=1',
        });
    }
  }

  /** One snapshot a line; a slow reader skips those that were overtaken while it was busy. */
  #watchObjects(response: ServerResponse): void {
    if (this.#watchers >= MAX_WATCHERS) {
      reply(response, 503, { error: `more than ${MAX_WATCHERS} watchers` });
      return;
    }
    this.#watchers += 1;
    const over = new AbortController();
    response.on('close', () => {
      this.#watchers -= 1;
      over.abort();
    });
    response.writeHead(200, { 'content-type': 'application/x-ndjson' });
    let sent = -1;
    let blocked = false;
    const send = (): void => {
      const set = this.#options.objects();
      if (blocked || set.generation === sent || set.generation === 0) return;
      sent = set.generation;
      blocked = !response.write(`${JSON.stringify(objectsView(set))}\n`);
    };
    response.on('drain', () => {
      blocked = false;
      send();
    });
    response.flushHeaders();
    this.#options.onObjects(send, AbortSignal.any([over.signal, this.#closed.signal]));
    send();
  }
}

function reply(response: ServerResponse, status: number, body: unknown): void {
  response.writeHead(status, { 'content-type': 'application/json' });
  response.end(`${JSON.stringify(body)}\n`);
}

/** What the dashboard shows a page of, beside Services and routes. */
const POLICIES: readonly Kind[] = [
  'AuthorizationPolicy',
  'PeerAuthentication',
  'RequestAuthentication',
  'EgressPolicy',
  'TrafficPolicy',
];

/** The accepted objects as `/v1/objects` gives them; `all`: those too that no pod is made of. */
function objectsView(set: ObjectSet, all = false): Record<string, unknown> {
  const of = (kind: Kind): KubeObject[] => [...objectsOf(set, kind).values()].map(({ object }) => object);
  return {
    generation: set.generation,
    pods: of('Pod'),
    services: of('Service'),
    gateways: of('Gateway'),
    namespaces: of('Namespace'),
    serviceAccounts: of('ServiceAccount'),
    httpRoutes: of('HTTPRoute'),
    ...(all && {
      grpcRoutes: of('GRPCRoute'),
      policies: POLICIES.flatMap(of),
    }),
  };
}

/** Removes what a killed predecessor left behind; never what a living one listens on, nor an ordinary file. */
async function clearStaleSocket(path: string): Promise<void> {
  const info = lstatSync(path, { throwIfNoEntry: false });
  if (info === undefined) return;
  if (!info.isSocket()) throw new ControllerError('LISTEN', `${path} exists and is not a socket`);
  const alive = await new Promise<boolean>((resolve) => {
    const socket = connect(path);
    socket.setTimeout(PROBE_TIMEOUT_MS, () => resolve(true));
    socket.on('connect', () => resolve(true));
    socket.on('error', () => resolve(false));
    socket.on('close', () => socket.destroy());
    setTimeout(() => socket.destroy(), PROBE_TIMEOUT_MS).unref();
  });
  if (alive) throw new ControllerError('LISTEN', `another process listens on ${path}`);
  rmSync(path, { force: true });
}
