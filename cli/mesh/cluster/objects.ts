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

/** A right that the user has not. */
interface Missing {
  readonly plural: string;
  /** Where. */
  readonly where: string;
}

export class ClusterObjects {
  readonly #api: Pick<ClusterApi, 'list'>;
  readonly #namespaces: readonly string[];
  readonly #listed = new Map<string, Listed>();
  /** By kind. */
  readonly #missing = new Map<string, Missing>();

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

  /** What rights were missing: a line for all kinds of which it is the same. */
  get missing(): readonly string[] {
    return lines([...this.#missing.values()]);
  }

  /** The line for one kind. */
  missingFor(kind: string): string | undefined {
    const missing = this.#missing.get(kind);
    return missing && lines([missing])[0];
  }

  async #everywhere<T>(kind: string): Promise<readonly T[]> {
    const all = await this.#allowed<T>(kind);
    if (all !== undefined) {
      this.#missing.delete(kind);
      return all;
    }
    const { plural, namespaced } = placeOf(kind);
    if (!namespaced) {
      this.#missing.set(kind, { plural, where: '' });
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
    const where =
      seen.length === 0
        ? `, neither in all namespaces nor in ${tried}; another namespace: -n`
        : ` in all namespaces: only those of ${seen.join(' and ')} are shown`;
    this.#missing.set(kind, { plural, where });
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

function lines(all: readonly Missing[]): string[] {
  return [...Map.groupBy(all, ({ where }) => where)].map(
    ([where, same]) =>
      `you have no right to list ${listText(same.map(({ plural }) => plural).sort())}${where}`,
  );
}

/** `a, b and c` */
function listText(names: readonly string[]): string {
  return names.length < 2 ? names.join('') : `${names.slice(0, -1).join(', ')} and ${names.at(-1) ?? ''}`;
}
