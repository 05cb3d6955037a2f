/** Objects of the Kubernetes API as far as the user may list them, and what that leaves out. */
import { ApiError, type ClusterApi } from '../../install/cluster/api.ts';
import { collectionPath, placeOf } from '../../install/cluster/kinds.ts';

const FORBIDDEN = 403;
/** So long what was listed counts as the present: the dashboard asks every few seconds, and the API server serves others too. */
const FRESH_MS = 5_000;

interface Listed {
  readonly at: number;
  readonly items: Promise<readonly unknown[]>;
}

export class ClusterObjects {
  readonly #api: Pick<ClusterApi, 'list'>;
  readonly #namespaces: readonly string[];
  readonly #listed = new Map<string, Listed>();
  readonly #missing = new Map<string, string>();

  /** @param namespaces where to look when the user may not list everywhere */
  constructor(api: Pick<ClusterApi, 'list'>, namespaces: readonly string[]) {
    this.#api = api;
    this.#namespaces = [...new Set(namespaces)];
  }

  /**
   * All objects of a kind, or those of the namespaces in which the user may list them; none where there is no such kind.
   *
   * @param kind `apiVersion/kind`. @throws ApiError for any other reason than a missing right
   */
  list<T>(kind: string): Promise<readonly T[]> {
    const known = this.#listed.get(kind);
    if (known !== undefined && Date.now() - known.at < FRESH_MS) return known.items as Promise<readonly T[]>;
    const items = this.#everywhere<T>(kind);
    this.#listed.set(kind, { at: Date.now(), items });
    items.catch(() => this.#listed.delete(kind));
    return items;
  }

  /** A line for each right that was missing. */
  get missing(): readonly string[] {
    return [...this.#missing.values()];
  }

  /** The line for one kind. */
  missingFor(kind: string): string | undefined {
    return this.#missing.get(kind);
  }

  async #everywhere<T>(kind: string): Promise<readonly T[]> {
    const all = await this.#allowed<T>(kind);
    if (all !== undefined) {
      this.#missing.delete(kind);
      return all;
    }
    const { plural, namespaced } = placeOf(kind);
    if (!namespaced) {
      this.#missing.set(kind, `you have no right to list ${plural}`);
      return [];
    }
    const found = await Promise.all(
      this.#namespaces.map(async (namespace) => ({
        namespace,
        items: await this.#allowed<T>(kind, namespace),
      })),
    );
    const seen = found.filter(({ items }) => items !== undefined).map(({ namespace }) => namespace);
    const tried = this.#namespaces.join(' and ');
    this.#missing.set(
      kind,
      seen.length === 0
        ? `you have no right to list ${plural}, neither in all namespaces nor in ${tried}; another namespace: -n`
        : `you have no right to list ${plural} in all namespaces: only those of ${seen.join(' and ')} are shown`,
    );
    return found.flatMap(({ items = [] }) => [...items]);
  }

  /** Undefined: not allowed. */
  async #allowed<T>(kind: string, namespace?: string): Promise<T[] | undefined> {
    try {
      return await this.#api.list<T>(collectionPath(kind, namespace));
    } catch (error) {
      if (error instanceof ApiError && error.status === FORBIDDEN) return undefined;
      throw error;
    }
  }
}
