/**
 * The API server, as the command line speaks with it: paths and JSON over HTTPS, with the credentials that the official client finds in
 * whatever kubeconfig the user has (certificates, tokens, exec plugins, OIDC, proxies; or a pod's account).
 */
import { request, type RequestOptions } from 'node:https';
import type { IncomingMessage, OutgoingHttpHeaders } from 'node:http';
import type { KubeConfig } from '@kubernetes/client-node';
import { errorText } from '../../../lib/loam-error.ts';
import { InstallError } from '../errors.ts';

/** How the user names the cluster. */
export interface ClusterChoice {
  /** Path of a kubeconfig; by default KUBECONFIG or ~/.kube/config, and in a pod its account. */
  readonly kubeconfig?: string;
  readonly context?: string;
}

/** What the API server refused. */
export class ApiError extends InstallError {
  /** HTTP status; 0 when there was no answer. */
  readonly status: number;

  constructor(status: number, message: string, options?: { cause?: unknown }) {
    super('INSTALL_API', message, options);
    this.status = status;
  }
}

export interface ApiObject {
  readonly apiVersion?: string;
  readonly kind?: string;
  readonly metadata: {
    readonly name: string;
    readonly namespace?: string;
    readonly uid: string;
    readonly generation?: number;
    readonly labels?: Readonly<Record<string, string>>;
    readonly annotations?: Readonly<Record<string, string>>;
    readonly deletionTimestamp?: string;
    readonly creationTimestamp?: string;
  };
}

interface Page<T> {
  readonly items: readonly T[];
  readonly metadata: { readonly continue?: string };
}

type Query = Readonly<Record<string, string>>;

const PAGE = '500';
const TIMEOUT_MS = 30_000;
const MAX_ANSWER_BYTES = 64 * 1024 * 1024;

export class ClusterApi {
  readonly #config: KubeConfig;
  readonly #server: URL;

  private constructor(config: KubeConfig, server: URL) {
    this.#config = config;
    this.#server = server;
  }

  /** @throws InstallError INSTALL_ACCESS when no usable kubeconfig is found */
  static async open(choice: ClusterChoice): Promise<ClusterApi> {
    // Loaded here only: it takes the better part of a second, which other commands need not wait for.
    const { KubeConfig } = await import('@kubernetes/client-node');
    const config = new KubeConfig();
    try {
      if (choice.kubeconfig === undefined) config.loadFromDefault();
      else config.loadFromFile(choice.kubeconfig);
      if (choice.context !== undefined) config.setCurrentContext(choice.context);
      const cluster = config.getCurrentCluster();
      if (cluster === null)
        throw new Error(
          choice.context === undefined
            ? 'no current context'
            : `no context ${JSON.stringify(choice.context)}`,
        );
      const server = new URL(cluster.server);
      // What the official client falls back to, and whatever else would carry credentials in the clear.
      if (server.protocol !== 'https:')
        throw new Error(
          choice.kubeconfig === undefined && server.host === 'localhost:8080'
            ? 'there is none, neither in KUBECONFIG nor at ~/.kube/config'
            : `its server ${server.href} is not HTTPS`,
        );
      return new ClusterApi(config, server);
    } catch (cause) {
      throw new InstallError(
        'INSTALL_ACCESS',
        `the kubeconfig is not usable: ${errorText(cause)}; name one with --kubeconfig or KUBECONFIG`,
        { cause },
      );
    }
  }

  /** The official client's configuration, for what it does better: forwarding ports, executing. */
  get config(): KubeConfig {
    return this.#config;
  }

  get server(): string {
    return this.#server.href;
  }

  /** What the user calls the cluster. */
  get context(): string {
    return this.#config.getCurrentContext();
  }

  /** The namespace that the kubeconfig's context names; as for kubectl, `default` where it names none. */
  get namespace(): string {
    return this.#config.getContextObject(this.#config.getCurrentContext())?.namespace ?? 'default';
  }

  /** @throws ApiError */
  async get<T = unknown>(path: string, query: Query = {}): Promise<T> {
    return (await this.#ask('GET', path, query)) as T;
  }

  /** Whatever is answered, as it is. @throws ApiError when nothing is */
  answer(path: string): Promise<{ status: number; text: string }> {
    return this.#send('GET', path, {});
  }

  /** What is no JSON: a log. @throws ApiError */
  async text(path: string, query: Query = {}): Promise<string> {
    const { status, text } = await this.#send('GET', path, query);
    if (status >= 200 && status < 300) return text;
    throw refusal('GET', path, status, text);
  }

  /** Undefined where there is none, or no such kind. @throws ApiError */
  async find<T = ApiObject>(path: string): Promise<T | undefined> {
    return orAbsent(this.get<T>(path));
  }

  /** All objects of a collection, page by page; none where the kind is not known. @throws ApiError */
  async list<T = ApiObject>(path: string, query: Query = {}): Promise<T[]> {
    const items: T[] = [];
    let more: string | undefined;
    do {
      const page: Page<T> | undefined = await orAbsent(
        this.get<Page<T>>(path, { limit: PAGE, ...query, ...(more === undefined ? {} : { continue: more }) }),
      );
      if (page === undefined) return items;
      items.push(...page.items);
      more = page.metadata.continue === '' ? undefined : page.metadata.continue;
    } while (more !== undefined);
    return items;
  }

  /** @throws ApiError */
  async create<T = unknown>(path: string, body: object, query: Query = {}): Promise<T> {
    return (await this.#ask('POST', path, query, body, 'application/json')) as T;
  }

  /** Server-side apply; what others manage of the object and we name becomes ours. @throws ApiError */
  async apply(path: string, body: object, fieldManager: string): Promise<ApiObject> {
    const query = { fieldManager, force: 'true' };
    return (await this.#ask('PATCH', path, query, body, 'application/apply-patch+yaml')) as ApiObject;
  }

  /** A merge patch. @throws ApiError */
  async merge(path: string, body: object): Promise<ApiObject> {
    return (await this.#ask('PATCH', path, {}, body, 'application/merge-patch+json')) as ApiObject;
  }

  /** Whether there was such an object. What it owns goes as well, after it. @throws ApiError */
  async delete(path: string, options: object = {}): Promise<boolean> {
    const body = { propagationPolicy: 'Background', ...options };
    return (
      (await orAbsent(this.#ask('DELETE', path, {}, body, 'application/json').then(() => true))) ?? false
    );
  }

  async #ask(method: string, path: string, query: Query, body?: object, type?: string): Promise<unknown> {
    const { status, text } = await this.#send(method, path, query, body, type);
    const answer = parsed(text);
    if (status >= 200 && status < 300 && answer !== undefined) return answer;
    throw refusal(method, path, status, text);
  }

  async #send(
    method: string,
    path: string,
    query: Query,
    body?: object,
    type?: string,
  ): Promise<{ status: number; text: string }> {
    const url = new URL(this.#server);
    url.pathname = `${url.pathname.replace(/\/$/, '')}${path}`;
    url.search = new URLSearchParams(query).toString();
    const options: RequestOptions = {
      method,
      headers: { accept: 'application/json, */*', ...(type === undefined ? {} : { 'content-type': type }) },
      timeout: TIMEOUT_MS,
    };
    try {
      await this.#config.applyToHTTPSOptions(options);
    } catch (cause) {
      throw new InstallError(
        'INSTALL_ACCESS',
        `credentials of the kubeconfig cannot be had: ${errorText(cause)}`,
        {
          cause,
        },
      );
    }
    return answerTo(url, options, body);
  }
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function refusal(method: string, path: string, status: number, text: string): ApiError {
  const said = (parsed(text) as { message?: string } | undefined)?.message ?? text.slice(0, 200).trim();
  return new ApiError(status, `${method} ${path}: ${status} ${said}`);
}

async function orAbsent<T>(answer: Promise<T>): Promise<T | undefined> {
  try {
    return await answer;
  } catch (error) {
    if (error instanceof ApiError && error.status === 404) return undefined;
    throw error;
  }
}

function answerTo(
  url: URL,
  options: RequestOptions,
  body?: object,
): Promise<{ status: number; text: string }> {
  return new Promise((resolve, reject) => {
    const fail = (cause: unknown): void =>
      reject(new ApiError(0, `the API server ${url.origin} does not answer: ${errorText(cause)}`, { cause }));
    const text = body === undefined ? undefined : JSON.stringify(body);
    // Without its length Node sends the body of a DELETE so that servers take it for none.
    const length = text === undefined ? {} : { 'content-length': Buffer.byteLength(text) };
    const headers = { ...(options.headers as OutgoingHttpHeaders), ...length };
    const sent = request(url, { ...options, headers }, (response: IncomingMessage) => {
      const parts: Buffer[] = [];
      let bytes = 0;
      response.on('data', (part: Buffer) => {
        bytes += part.length;
        if (bytes > MAX_ANSWER_BYTES)
          sent.destroy(new Error(`an answer of more than ${MAX_ANSWER_BYTES} bytes`));
        else parts.push(part);
      });
      response.on('error', fail);
      response.on('end', () =>
        resolve({ status: response.statusCode ?? 0, text: Buffer.concat(parts).toString() }),
      );
    });
    sent.on('timeout', () => sent.destroy(new Error(`nothing for ${TIMEOUT_MS / 1000} s`)));
    sent.on('error', fail);
    sent.end(text);
  });
}
