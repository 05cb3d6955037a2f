import { readFile } from 'node:fs/promises';
import { isIPv6 } from 'node:net';
import { join } from 'node:path';
import { errorText } from '../loam-error.ts';
import { KubeApiError } from './errors.ts';

/** Where an API server is and who speaks with it. All files are read anew, so that what rotates them need tell nobody. */
export interface KubeAccess {
  /** `https://host:port`. */
  readonly server: string;
  /** PEM of the authorities that the server's certificate may be of. */
  readonly caFile: string;
  readonly credentials:
    | { readonly kind: 'token'; readonly file: string }
    | { readonly kind: 'certificate'; readonly certFile: string; readonly keyFile: string };
}

/**
 * How a pod reaches the API server of its cluster, by what the kubelet gives it.
 *
 * @param env of the program; its config.ts alone reads it
 * @param accountDir where the service account is mounted, with `token` and `ca.crt`
 * @throws KubeApiError (KUBE_CREDENTIALS) where the program is in no pod
 */
export function inClusterAccess(
  env: Readonly<Record<string, string | undefined>>,
  accountDir: string,
): KubeAccess {
  const host = env['KUBERNETES_SERVICE_HOST'];
  const port = env['KUBERNETES_SERVICE_PORT'];
  if (host === undefined || host === '' || port === undefined || port === '') {
    throw new KubeApiError(
      'KUBE_CREDENTIALS',
      'KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT are not set: this is no pod; name the API server by a flag',
      { path: '' },
    );
  }
  return accountAccess(`https://${isIPv6(host) ? `[${host}]` : host}:${port}`, accountDir);
}

/** As `inClusterAccess`, with an API server that is named. */
export function accountAccess(server: string, accountDir: string): KubeAccess {
  return {
    server,
    caFile: join(accountDir, 'ca.crt'),
    credentials: { kind: 'token', file: join(accountDir, 'token') },
  };
}

/** What a connection and a request are made with. */
export interface Credentials {
  readonly ca: string;
  readonly cert?: string;
  readonly key?: string;
  readonly token?: string;
}

/** Files this old are read again: the kubelet replaces a token long before it ends. */
const FRESH_MS = 1_000;

/** Reads the files of an access, at most once a second. */
export class CredentialFiles {
  readonly #access: KubeAccess;
  #read: Promise<Credentials> | undefined;
  #readAtMs = 0;

  constructor(access: KubeAccess) {
    this.#access = access;
  }

  /** @throws KubeApiError (KUBE_CREDENTIALS) */
  async load(): Promise<Credentials> {
    const now = performance.now();
    if (this.#read === undefined || now - this.#readAtMs > FRESH_MS) {
      this.#readAtMs = now;
      this.#read = read(this.#access);
      this.#read.catch(() => (this.#read = undefined));
    }
    return this.#read;
  }

  /** What was read was refused: the next request reads again. */
  forget(): void {
    this.#read = undefined;
  }
}

async function read({ caFile, credentials }: KubeAccess): Promise<Credentials> {
  const ca = await readText(caFile);
  if (credentials.kind === 'token') return { ca, token: (await readText(credentials.file)).trim() };
  const [cert, key] = await Promise.all([readText(credentials.certFile), readText(credentials.keyFile)]);
  return { ca, cert, key };
}

async function readText(file: string): Promise<string> {
  try {
    const text = await readFile(file, 'utf8');
    if (text.trim() === '') throw new Error(`${file} is empty`);
    return text;
  } catch (error) {
    throw new KubeApiError('KUBE_CREDENTIALS', `no credentials for the API server: ${errorText(error)}`, {
      path: '',
      cause: error,
    });
  }
}
