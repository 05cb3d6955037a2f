import { readFileSync } from 'node:fs';
import type { KubeReads, Query } from '../../../lib/kubernetes/client.ts';
import { isRecord, isResource, type KubeResource } from '../../../lib/kubernetes/resource.ts';
import { errorText } from '../../../lib/loam-error.ts';
import { ControllerError } from '../../errors.ts';
import { READ_KINDS } from './kinds.ts';

/** The only form of selector that a kind is read by (kinds.ts). */
const UNLIKE = /^([A-Za-z0-9./_-]+)!=([A-Za-z0-9._-]*)$/;

/** Answers as an API server does that has these objects, and to which nothing ever happens. */
export class ObjectsCopy implements KubeReads {
  /** By path of the collection. */
  readonly #items = new Map<string, KubeResource[]>();

  /** @throws Error naming the object that cannot be used */
  constructor(items: readonly unknown[]) {
    const paths = new Map(READ_KINDS.map(({ apiVersion, kind, path }) => [`${apiVersion}/${kind}`, path]));
    items.forEach((item, i) => {
      if (!isResource(item)) throw new Error(`items[${i}] is no object with a name`);
      const { apiVersion, kind } = item as { readonly apiVersion?: unknown; readonly kind?: unknown };
      const path = paths.get(`${String(apiVersion)}/${String(kind)}`);
      if (path === undefined)
        throw new Error(
          `items[${i}] is of ${String(apiVersion)}/${String(kind)}; allowed: ${[...paths.keys()].join(', ')}`,
        );
      const known = this.#items.get(path);
      if (known === undefined) this.#items.set(path, [item]);
      else known.push(item);
    });
  }

  /** @param file a `List` in JSON, as kubectl writes one. @throws ControllerError CONFIG */
  static read(file: string): ObjectsCopy {
    try {
      const list: unknown = JSON.parse(readFileSync(file, 'utf8'));
      if (!isRecord(list) || !Array.isArray(list['items'])) throw new Error('it is no List');
      return new ObjectsCopy(list['items']);
    } catch (cause) {
      throw new ControllerError('CONFIG', `--objects ${file} cannot be used: ${errorText(cause)}`, { cause });
    }
  }

  get<T>(path: string, { labelSelector }: Query = {}): Promise<T> {
    const isWanted = selecting(labelSelector);
    const items = (this.#items.get(path) ?? []).filter(isWanted);
    return Promise.resolve({ metadata: { resourceVersion: '1' }, items } as T);
  }

  text(): Promise<string> {
    return Promise.resolve('ok');
  }

  /** A watch that tells nothing. */
  lines(
    _path: string,
    _query: Query,
    _onLine: (line: string) => void,
    { signal }: { readonly signal?: AbortSignal } = {},
  ): Promise<void> {
    return new Promise((resolve) => {
      if (signal?.aborted === true) resolve();
      else signal?.addEventListener('abort', () => resolve(), { once: true });
    });
  }
}

function selecting(selector: Query[string]): (object: KubeResource) => boolean {
  if (selector === undefined) return () => true;
  const [, key, value] = UNLIKE.exec(String(selector)) ?? [];
  if (key === undefined) throw new Error(`a copy cannot select by ${String(selector)}`);
  return ({ metadata }) => metadata.labels?.[key] !== value;
}
