import { Agent } from 'node:https';
import { errorText } from '../loam-error.ts';
import { CredentialFiles, type KubeAccess } from './access.ts';
import { hasStatus, KubeApiError } from './errors.ts';
import { call, type KubeCall, lost, readBody, timeoutError, tooLarge } from './request.ts';

export interface KubeClientOptions {
  /** Who asks, for the API server's audit log: `loam-agent`. */
  readonly userAgent?: string;
  /** For a request as a whole; of a watch, for its head. */
  readonly timeoutMs?: number;
  /** Of an answer, or of one event of a watch. */
  readonly maxBytes?: number;
}

export type Query = Readonly<Record<string, string | number | boolean | undefined>>;

export type PatchType =
  | 'application/json-patch+json'
  | 'application/merge-patch+json'
  | 'application/strategic-merge-patch+json'
  /** Server-side apply; the query then has `fieldManager`, and `force` where others' fields are taken over. */
  | 'application/apply-patch+yaml';

/** What it takes to follow a collection. */
export type KubeReads = Pick<KubeClient, 'get' | 'text' | 'lines'>;

export interface DeleteOptions {
  readonly gracePeriodSeconds?: number;
  readonly propagationPolicy?: 'Orphan' | 'Background' | 'Foreground';
  readonly preconditions?: { readonly uid?: string; readonly resourceVersion?: string };
}

const DEFAULTS = { userAgent: 'loam', timeoutMs: 30_000, maxBytes: 32 * 1024 * 1024 };
/** Of requests at once; watches are not counted, they keep a connection each. */
const MAX_CONNECTIONS = 16;
/** A connection that rests so long is closed before the server does it (after 90 s) while a request is on its way. */
const IDLE_MS = 30_000;
const LINE_FEED = 0x0a;

/**
 * The Kubernetes API over HTTPS: JSON in, JSON out. What comes back is as the server said it, unchecked.
 * `path` is the path of the API, such as `/api/v1/namespaces/shop/pods`. Every method throws KubeApiError.
 */
export class KubeClient {
  readonly #server: URL;
  readonly #files: CredentialFiles;
  readonly #options: Required<KubeClientOptions>;
  readonly #requests = new Agent({ keepAlive: true, maxSockets: MAX_CONNECTIONS, timeout: IDLE_MS });
  /** A watch's connection carries nothing else before or after it. */
  readonly #watches = new Agent({ keepAlive: false });
  readonly #closed = new AbortController();

  constructor(access: KubeAccess, options: KubeClientOptions = {}) {
    this.#server = new URL(access.server);
    if (this.#server.protocol !== 'https:') {
      throw new KubeApiError(
        'KUBE_CREDENTIALS',
        `the API server ${access.server} must be an https:// address`,
        {
          path: '',
        },
      );
    }
    this.#files = new CredentialFiles(access);
    this.#options = { ...DEFAULTS, ...options };
  }

  get<T>(path: string, query: Query = {}, signal?: AbortSignal): Promise<T> {
    return this.#json<T>('GET', path, query, undefined, undefined, signal);
  }

  /** The answer as it is, of what does not speak JSON: `/readyz`. */
  text(path: string, query: Query = {}, signal?: AbortSignal): Promise<string> {
    return this.#text('GET', path, query, undefined, undefined, signal);
  }

  /** Makes an object in the collection `path`; returns it as the server made it. */
  create<T = unknown>(path: string, object: unknown, query: Query = {}): Promise<T> {
    return this.#json<T>('POST', path, query, object);
  }

  /** Puts an object in place of the one at `path`; fails with 409 when its resourceVersion is not the present one. */
  replace<T = unknown>(path: string, object: unknown, query: Query = {}): Promise<T> {
    return this.#json<T>('PUT', path, query, object);
  }

  patch<T = unknown>(path: string, body: unknown, contentType: PatchType, query: Query = {}): Promise<T> {
    return this.#json<T>('PATCH', path, query, body, contentType);
  }

  delete<T = unknown>(path: string, options: DeleteOptions = {}): Promise<T> {
    return this.#json<T>('DELETE', path, {}, { apiVersion: 'v1', kind: 'DeleteOptions', ...options });
  }

  /**
   * Reads an answer line by line while it lasts, as watches are sent. Returns when the server ends it in good order.
   *
   * @param silenceMs without a byte for so long, the connection counts as dead (KUBE_TIMEOUT)
   */
  async lines(
    path: string,
    query: Query,
    onLine: (line: string) => void,
    { silenceMs, signal }: { readonly silenceMs: number; readonly signal: AbortSignal },
  ): Promise<void> {
    const about = await this.#call('GET', path, query, signal, this.#watches);
    const message = await call(about).catch((error: unknown) => this.#refused(error));
    const { maxBytes } = this.#options;
    await new Promise<void>((resolve, reject) => {
      const waiting: Buffer[] = [];
      let size = 0;
      const fail = (error: KubeApiError): void => {
        clearTimeout(timer);
        reject(error);
        message.destroy();
      };
      const timer = setTimeout(() => fail(timeoutError(about, silenceMs)), silenceMs);
      const take = (part: Buffer): void => {
        size += part.length;
        if (size > maxBytes) throw tooLarge(about, maxBytes);
        waiting.push(part);
      };
      message.on('data', (chunk: Buffer) => {
        // What the server sent before it was given up is of no use any more.
        if (signal.aborted || message.destroyed) return;
        timer.refresh();
        try {
          let from = 0;
          for (let at = chunk.indexOf(LINE_FEED); at >= 0; at = chunk.indexOf(LINE_FEED, from)) {
            take(chunk.subarray(from, at));
            from = at + 1;
            const line = waiting.length === 1 ? (waiting[0] as Buffer) : Buffer.concat(waiting);
            waiting.length = 0;
            size = 0;
            onLine(line.toString('utf8'));
          }
          if (from < chunk.length) take(chunk.subarray(from));
        } catch (error) {
          fail(error instanceof KubeApiError ? error : lost(about, error));
        }
      });
      message.on('end', () => {
        clearTimeout(timer);
        resolve();
      });
      message.on('error', (error) => fail(lost(about, error)));
      message.on('close', () => fail(lost(about, new Error('the connection ended'))));
    });
  }

  /** Ends all requests (KUBE_CLOSED) and connections. */
  close(): void {
    this.#closed.abort();
    this.#requests.destroy();
    this.#watches.destroy();
  }

  async #json<T>(
    method: string,
    path: string,
    query: Query,
    body?: unknown,
    contentType?: string,
    signal?: AbortSignal,
  ): Promise<T> {
    const text = await this.#text(method, path, query, body, contentType, signal);
    try {
      return JSON.parse(text) as T;
    } catch (error) {
      const reason = `${method} ${path}: the answer is not JSON: ${errorText(error)}`;
      throw new KubeApiError('KUBE_MALFORMED', reason, { path });
    }
  }

  async #text(
    method: string,
    path: string,
    query: Query,
    body?: unknown,
    contentType?: string,
    signal?: AbortSignal,
  ): Promise<string> {
    const { timeoutMs, maxBytes } = this.#options;
    const about = await this.#call(method, path, query, signal, this.#requests, body, contentType);
    const message = await call(about).catch((error: unknown) => this.#refused(error));
    return readBody(message, about, maxBytes, timeoutMs);
  }

  /** A token that is refused may have been replaced a moment ago. */
  #refused(error: unknown): never {
    if (hasStatus(error, 401)) this.#files.forget();
    throw error;
  }

  async #call(
    method: string,
    path: string,
    query: Query,
    signal: AbortSignal | undefined,
    agent: Agent,
    body?: unknown,
    contentType?: string,
  ): Promise<KubeCall> {
    const credentials = await this.#files.load();
    const ends = signal === undefined ? this.#closed.signal : AbortSignal.any([signal, this.#closed.signal]);
    if (ends.aborted) throw new KubeApiError('KUBE_CLOSED', `${method} ${path}: given up`, { path });
    const { userAgent, timeoutMs } = this.#options;
    return {
      server: this.#server,
      agent,
      credentials,
      method,
      path,
      query,
      userAgent,
      signal: ends,
      timeoutMs,
      ...(body !== undefined && { body: JSON.stringify(body) }),
      ...(contentType !== undefined && { contentType }),
    };
  }
}
