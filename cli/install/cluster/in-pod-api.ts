import type { DeleteOptions, KubeClient } from '../../../lib/kubernetes/client.ts';
import { orAbsent } from '../../../lib/kubernetes/errors.ts';
import type { ApiObject, ClusterApi } from './api.ts';

interface Page<T> {
  readonly items: readonly T[];
  readonly metadata: { readonly continue?: string };
}

type Query = Readonly<Record<string, string>>;

const PAGE = 500;

/**
 * The API server as a pod with an account speaks with it: what {@link ClusterApi} does for people's kubeconfigs, without the official
 * client, which the image does not hold. Every method throws KubeApiError.
 */
export class InPodApi implements Pick<ClusterApi, 'find' | 'list' | 'apply' | 'delete'> {
  readonly #client: KubeClient;

  constructor(client: KubeClient) {
    this.#client = client;
  }

  async find<T = ApiObject>(path: string): Promise<T | undefined> {
    return orAbsent(this.#client.get<T>(path));
  }

  async list<T = ApiObject>(path: string, query: Query = {}): Promise<T[]> {
    const items: T[] = [];
    let more: string | undefined;
    do {
      const page: Page<T> | undefined = await orAbsent(
        this.#client.get<Page<T>>(path, { limit: PAGE, ...query, continue: more }),
      );
      if (page === undefined) return items;
      items.push(...page.items);
      more = page.metadata.continue === '' ? undefined : page.metadata.continue;
    } while (more !== undefined);
    return items;
  }

  apply(path: string, body: object, fieldManager: string): Promise<ApiObject> {
    return this.#client.patch<ApiObject>(path, body, 'application/apply-patch+yaml', {
      fieldManager,
      force: true,
    });
  }

  async delete(path: string, options: DeleteOptions = {}): Promise<boolean> {
    const deleted = this.#client.delete(path, { propagationPolicy: 'Background', ...options });
    return (await orAbsent(deleted.then(() => true))) ?? false;
  }
}
