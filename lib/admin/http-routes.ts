import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { once } from 'node:events';
import { errorText } from '../loam-error.ts';
import { bindHost, type ListenAddress } from './listen-address.ts';

const HEADERS_TIMEOUT_MS = 5_000;
const REQUEST_TIMEOUT_MS = 10_000;
const MAX_HEADER_BYTES = 8 * 1024;
/** How often those two are looked at; Node's own 30 s would make either last for as long. */
const TIMEOUT_CHECK_MS = 1_000;
/** Pods can reach some of these ports: they must not take the descriptors from the connections of others. */
const MAX_CONNECTIONS = 64;

export interface Answer {
  readonly status: number;
  readonly type: string;
  readonly body: string;
}

/** An answer that goes on: the handler writes head and body, and ends it. */
export interface StreamAnswer {
  readonly stream: (response: ServerResponse) => void;
}

/** @param accept the request's header of that name */
export type Handler = (query: URLSearchParams, accept?: string) => Answer | StreamAnswer | Promise<Answer>;

/** Handlers by `METHOD /path`. Bodies of requests are never read. */
export type Routes = Readonly<Record<string, Handler>>;

export function jsonAnswer(value: unknown, status = 200): Answer {
  return { status, type: 'application/json', body: `${JSON.stringify(value, null, 2)}\n` };
}

export function textAnswer(text: string, status = 200): Answer {
  return { status, type: 'text/plain; charset=utf-8', body: `${text}\n` };
}

/**
 * Serves some routes over plain HTTP.
 *
 * @param reusePort whether others who say the same may listen there too (SO_REUSEPORT): each new connection goes to
 *   any of them
 * @throws Error when the address cannot be listened on
 */
export async function serveRoutes(
  address: ListenAddress,
  routes: Routes,
  reusePort = false,
): Promise<Server> {
  const server = createServer(
    {
      headersTimeout: HEADERS_TIMEOUT_MS,
      requestTimeout: REQUEST_TIMEOUT_MS,
      connectionsCheckingInterval: TIMEOUT_CHECK_MS,
      maxHeaderSize: MAX_HEADER_BYTES,
    },
    (request, response) => {
      request.resume();
      void answerOf(request, routes).then((answer) => {
        if ('stream' in answer) {
          answer.stream(response);
          return;
        }
        response.writeHead(answer.status, {
          'content-type': answer.type,
          'x-content-type-options': 'nosniff',
        });
        response.end(request.method === 'HEAD' ? undefined : answer.body);
      });
    },
  );
  server.maxConnections = MAX_CONNECTIONS;
  server.listen({ port: address.port, host: bindHost(address.host), reusePort });
  await once(server, 'listening');
  return server;
}

async function answerOf(request: IncomingMessage, routes: Routes): Promise<Answer | StreamAnswer> {
  const [path = '/', query = ''] = (request.url ?? '/').split('?', 2);
  const method = request.method === 'HEAD' ? 'GET' : request.method;
  const handler = routes[`${method} ${path}`];
  // A browser says where a request comes from; nothing here is meant for web pages.
  if (method !== 'GET' && request.headers.origin !== undefined) return textAnswer('not for browsers', 403);
  if (handler === undefined) {
    const allowed = Object.keys(routes).filter((route) => route.endsWith(` ${path}`));
    if (allowed.length > 0) return textAnswer(`allowed: ${allowed.join(', ')}`, 405);
    return textAnswer(`there is: ${Object.keys(routes).join(', ')}`, 404);
  }
  try {
    return await handler(new URLSearchParams(query), request.headers.accept);
  } catch (error) {
    return textAnswer(errorText(error), 500);
  }
}
