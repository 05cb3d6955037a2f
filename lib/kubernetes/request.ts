import type { IncomingMessage } from 'node:http';
import { type Agent, request, type RequestOptions } from 'node:https';
import { errorText } from '../loam-error.ts';
import type { Credentials } from './access.ts';
import { KubeApiError } from './errors.ts';
import { isRecord } from './resource.ts';

/** One HTTP request to the API server. */
export interface KubeCall {
  readonly server: URL;
  readonly agent: Agent;
  readonly credentials: Credentials;
  readonly method: string;
  readonly path: string;
  readonly query: Readonly<Record<string, string | number | boolean | undefined>>;
  readonly body?: string;
  readonly contentType?: string;
  readonly userAgent: string;
  readonly signal: AbortSignal;
  /** For the head of the answer, in milliseconds. */
  readonly timeoutMs: number;
}

const MAX_ERROR_BYTES = 64 * 1024;
const MAX_SHOWN = 300;
const MAX_RETRY_AFTER_MS = 60_000;
/** A peer whose machine is gone is noticed some ten seconds after this one. */
const KEEP_ALIVE_MS = 15_000;

/**
 * Sends a request and waits for the head of a good answer. The caller reads the body, and ends it by destroying the
 * message.
 *
 * @throws KubeApiError for any other answer, and for none
 */
export async function call(options: KubeCall): Promise<IncomingMessage> {
  const { method, path } = options;
  const message = await head(options);
  const status = message.statusCode ?? 0;
  if (status >= 200 && status < 300) return message;
  const text = await readBody(message, options, MAX_ERROR_BYTES, options.timeoutMs).catch(() => '');
  const { reason, message: told } = statusOf(text);
  throw new KubeApiError(
    'KUBE_STATUS',
    `${method} ${path}: the API server answers ${status}${told === '' ? '' : `: ${told.slice(0, MAX_SHOWN)}`}`,
    { status, reason, path, retryAfterMs: retryAfter(message) },
  );
}

function head(options: KubeCall): Promise<IncomingMessage> {
  const { server, agent, credentials, method, path, body, contentType, signal, timeoutMs } = options;
  const { token, ...tls } = credentials;
  const settings: RequestOptions = {
    ...tls,
    agent,
    method,
    signal,
    host: server.hostname.replace(/^\[|\]$/g, ''),
    port: server.port === '' ? 443 : server.port,
    path: server.pathname.replace(/\/$/, '') + path + queryText(options.query),
    minVersion: 'TLSv1.2',
    headers: {
      accept: 'application/json',
      'user-agent': options.userAgent,
      ...(token !== undefined && { authorization: `Bearer ${token}` }),
      ...(body !== undefined && {
        'content-type': contentType ?? 'application/json',
        'content-length': Buffer.byteLength(body),
      }),
    },
  };
  return new Promise((resolve, reject) => {
    let timedOut = false;
    const sent = request(settings, (message) => {
      clearTimeout(timer);
      resolve(message);
    });
    const timer = setTimeout(() => {
      timedOut = true;
      sent.destroy();
    }, timeoutMs);
    sent.on('socket', (socket) => socket.setKeepAlive(true, KEEP_ALIVE_MS));
    sent.on('error', (error) => {
      clearTimeout(timer);
      reject(timedOut ? timeoutError(options, timeoutMs) : lost(options, error));
    });
    sent.end(body);
  });
}

/**
 * The whole body as text.
 *
 * @param maxBytes more than this is refused, and the connection dropped
 * @param timeoutMs for all of it
 * @throws KubeApiError
 */
export function readBody(
  message: IncomingMessage,
  about: KubeCall,
  maxBytes: number,
  timeoutMs: number,
): Promise<string> {
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    let size = 0;
    const settle = (): void => clearTimeout(timer);
    const fail = (error: KubeApiError): void => {
      settle();
      reject(error);
      message.destroy();
    };
    const timer = setTimeout(() => fail(timeoutError(about, timeoutMs)), timeoutMs);
    message.on('data', (chunk: Buffer) => {
      size += chunk.length;
      if (size <= maxBytes) chunks.push(chunk);
      else fail(tooLarge(about, maxBytes));
    });
    message.on('end', () => {
      settle();
      resolve(Buffer.concat(chunks).toString('utf8'));
    });
    message.on('error', (error) => fail(lost(about, error)));
    message.on('close', () => fail(lost(about, new Error('the connection ended within the answer'))));
  });
}

export function tooLarge({ method, path }: KubeCall, maxBytes: number): KubeApiError {
  return new KubeApiError(
    'KUBE_TOO_LARGE',
    `${method} ${path}: the answer is larger than ${maxBytes} bytes`,
    {
      path,
    },
  );
}

export function timeoutError({ method, path }: KubeCall, timeoutMs: number): KubeApiError {
  return new KubeApiError(
    'KUBE_TIMEOUT',
    `${method} ${path}: the API server has said nothing for ${timeoutMs / 1000} s`,
    { path },
  );
}

/** The error of a connection that failed, or of a caller who gave up. */
export function lost({ method, path, signal }: KubeCall, error: unknown): KubeApiError {
  if (signal.aborted) return new KubeApiError('KUBE_CLOSED', `${method} ${path}: given up`, { path });
  return new KubeApiError(
    'KUBE_CONNECT',
    `${method} ${path}: no answer of the API server: ${errorText(error)}`,
    { path, cause: error },
  );
}

/** What the API says in its Status object (API conventions, "Response Status Kind"); nothing of it is relied upon. */
function statusOf(text: string): { reason: string | undefined; message: string } {
  try {
    const status: unknown = JSON.parse(text);
    if (isRecord(status)) {
      const { reason, message } = status;
      return {
        reason: typeof reason === 'string' ? reason : undefined,
        message: typeof message === 'string' ? message : '',
      };
    }
  } catch {
    // A proxy in between answers in a language of its own.
  }
  return { reason: undefined, message: text.trim() };
}

function retryAfter({ headers }: IncomingMessage): number | undefined {
  const seconds = Number(headers['retry-after']);
  if (!Number.isFinite(seconds) || seconds < 0) return undefined;
  return Math.min(MAX_RETRY_AFTER_MS, seconds * 1000);
}

function queryText(query: KubeCall['query']): string {
  const params = new URLSearchParams();
  for (const [name, value] of Object.entries(query)) if (value !== undefined) params.set(name, String(value));
  const text = params.toString();
  return text === '' ? '' : `?${text}`;
}
