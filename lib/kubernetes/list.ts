import type { KubeReads, Query } from './client.ts';
import { hasStatus, KubeApiError } from './errors.ts';
import { isRecord } from './resource.ts';

interface Page {
  readonly items: readonly unknown[];
  /** Where the next page goes on; undefined at the end. */
  readonly next: string | undefined;
  readonly resourceVersion: string;
}

/** Of one list: more pages than a sane server sends. */
const MAX_PAGES = 100_000;

/** Reads collections in pages, in smaller ones where a page is larger than the client allows. */
export class Lister {
  readonly #client: KubeReads;
  readonly #path: string;
  readonly #query: Query;
  #limit: number;

  constructor(client: KubeReads, path: string, query: Query, limit: number) {
    this.#client = client;
    this.#path = path;
    this.#query = query;
    this.#limit = limit;
  }

  /**
   * Returns the list's resourceVersion, or undefined where the server does not know the kind.
   *
   * @param onItem called for each item, page by page: a great collection is never in memory as a whole
   * @throws KubeApiError, also after some items
   */
  async list(onItem: (item: unknown) => void, signal: AbortSignal): Promise<string | undefined> {
    let next: string | undefined;
    for (let page = 0; page < MAX_PAGES; page += 1) {
      const answer = await this.#page(next, signal);
      if (answer === undefined) return undefined;
      answer.items.forEach(onItem);
      next = answer.next;
      if (next === undefined) return answer.resourceVersion;
    }
    throw malformed(this.#path, 'the list has no end');
  }

  async #page(next: string | undefined, signal: AbortSignal): Promise<Page | undefined> {
    for (;;) {
      try {
        const query = { ...this.#query, limit: this.#limit, continue: next };
        return pageOf(this.#path, await this.#client.get<unknown>(this.#path, query, signal));
      } catch (error) {
        if (hasStatus(error, 404) && (await this.#isServing(signal))) return undefined;
        const isTooLarge = error instanceof KubeApiError && error.code === 'KUBE_TOO_LARGE';
        if (!isTooLarge || this.#limit <= 1) throw error;
        this.#limit = Math.ceil(this.#limit / 4);
      }
    }
  }

  /** A server that starts answers 404 for kinds that it has yet to learn of: that must not pass for "there are none". */
  async #isServing(signal: AbortSignal): Promise<boolean> {
    try {
      await this.#client.text('/readyz', {}, signal);
      return true;
    } catch (error) {
      // Whoever may not ask cannot be told.
      return hasStatus(error, 403) || hasStatus(error, 401) || hasStatus(error, 404);
    }
  }
}

function pageOf(path: string, answer: unknown): Page {
  if (!isRecord(answer) || !isRecord(answer['metadata'])) throw malformed(path, 'the answer is no list');
  const { items } = answer;
  if (items !== undefined && items !== null && !Array.isArray(items))
    throw malformed(path, 'items is no list');
  const { resourceVersion, continue: next } = answer['metadata'];
  if (typeof resourceVersion !== 'string') throw malformed(path, 'the list has no resourceVersion');
  return {
    items: Array.isArray(items) ? items : [],
    next: typeof next === 'string' && next !== '' ? next : undefined,
    resourceVersion,
  };
}

function malformed(path: string, message: string): KubeApiError {
  return new KubeApiError('KUBE_MALFORMED', `GET ${path}: ${message}`, { path });
}
