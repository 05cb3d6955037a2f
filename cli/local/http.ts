import { request, type IncomingMessage, type RequestOptions } from 'node:http';
import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { connectInNetns } from '../../lib/linux/socket.ts';
import { closeFd } from '../../lib/linux/libc.ts';
import { openNetns } from '../../lib/linux/netns.ts';
import { LoamError } from '../../lib/loam-error.ts';
import { LocalMeshError } from './errors.ts';
import { netnsPath } from './names.ts';

const TIMEOUT_MS = 2_000;
const ANSWER_MAX_BYTES = 64 << 20;
/** Of a stream: some times what a program tells in one. */
const LINE_MAX_CHARS = 32 << 20;

/** Where an HTTP server of the mesh listens: a unix socket, or a port of 127.0.0.1 inside a network namespace or a pod. */
export type Endpoint =
  | { readonly socketPath: string }
  | { readonly netns: string; readonly port: number }
  /** By a stream of the caller's making, one for each request. @property where in words */
  | { readonly connect: () => Duplex; readonly where: string };

export interface HttpAnswer {
  readonly status: number;
  readonly body: string;
}

function target(endpoint: Endpoint): RequestOptions {
  // No agent: who asks again after some seconds must not meet a connection that the server has just closed.
  if ('socketPath' in endpoint) return { socketPath: endpoint.socketPath, agent: false };
  if ('connect' in endpoint) return { host: '127.0.0.1', createConnection: endpoint.connect };
  const { netns, port } = endpoint;
  return {
    host: '127.0.0.1',
    port,
    createConnection: (): Socket => {
      const fd = openNetns(netnsPath(netns));
      try {
        return connectInNetns(fd, '127.0.0.1', port);
      } finally {
        closeFd(fd);
      }
    },
  };
}

function whereText(endpoint: Endpoint, path: string): string {
  if ('connect' in endpoint) return `${path} of ${endpoint.where}`;
  return 'socketPath' in endpoint
    ? `${endpoint.socketPath} ${path}`
    : `127.0.0.1:${endpoint.port}${path} in ${endpoint.netns}`;
}

/** One HTTP request and its whole answer. @throws LocalMeshError when nobody answers in time */
export function ask(
  endpoint: Endpoint,
  path: string,
  method = 'GET',
  timeoutMs = TIMEOUT_MS,
): Promise<HttpAnswer> {
  return new Promise((resolve, reject) => {
    // For the whole of it: the request's own timeout is not set for a connection that we make, and starts anew with each byte.
    const signal = AbortSignal.timeout(timeoutMs);
    const fail = (error: Error): void => {
      // Whoever made the stream says it better.
      if (error instanceof LoamError) {
        reject(error);
        return;
      }
      const why = signal.aborted ? `nothing whole within ${timeoutMs} ms` : error.message;
      reject(new LocalMeshError('LOCAL_MESH_ANSWER', `no answer from ${whereText(endpoint, path)}: ${why}`));
    };
    let sent;
    try {
      sent = request({ ...target(endpoint), path, method, signal }, (response) => {
        let body = '';
        response.setEncoding('utf8');
        response.on('data', (chunk: string) => {
          body += chunk;
          if (body.length > ANSWER_MAX_BYTES) response.destroy(new Error('the answer does not end'));
        });
        response.on('error', fail);
        response.on('end', () => resolve({ status: response.statusCode ?? 0, body }));
      });
    } catch (error) {
      fail(error as Error);
      return;
    }
    sent.on('error', fail);
    sent.end();
  });
}

/** As {@link ask}, for an answer in JSON with status 200. */
export async function askJson(endpoint: Endpoint, path: string, timeoutMs = TIMEOUT_MS): Promise<unknown> {
  const { status, body } = await ask(endpoint, path, 'GET', timeoutMs);
  if (status !== 200)
    throw new LocalMeshError(
      'LOCAL_MESH_ANSWER',
      `${whereText(endpoint, path)} answers ${status}: ${body.slice(0, 300).trim()}`,
    );
  return JSON.parse(body) as unknown;
}

/**
 * Follows a stream of JSON lines until it ends or the signal fires.
 *
 * @throws LocalMeshError when the stream cannot be opened or breaks
 */
export async function followJsonLines(
  endpoint: Endpoint,
  path: string,
  signal: AbortSignal,
  onValue: (value: unknown) => void,
): Promise<void> {
  const response = await new Promise<IncomingMessage>((resolve, reject) => {
    const sent = request({ ...target(endpoint), path, signal }, resolve);
    sent.on('error', reject);
    sent.end();
  });
  if (response.statusCode !== 200) {
    response.destroy();
    throw new LocalMeshError(
      'LOCAL_MESH_ANSWER',
      `${whereText(endpoint, path)} answers ${response.statusCode ?? 0}`,
    );
  }
  let rest = '';
  response.setEncoding('utf8');
  for await (const chunk of response) {
    const [first = '', ...others] = (chunk as string).split('\n');
    const lines = [rest + first, ...others];
    rest = lines.pop() ?? '';
    for (const line of lines) if (line.trim() !== '') onValue(JSON.parse(line));
    if (rest.length > LINE_MAX_CHARS) {
      response.destroy();
      throw new LocalMeshError('LOCAL_MESH_ANSWER', `a line of ${whereText(endpoint, path)} does not end`);
    }
  }
}
