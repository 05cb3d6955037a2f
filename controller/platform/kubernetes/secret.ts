import type { KubeClient } from '../../../lib/kubernetes/client.ts';
import { hasStatus } from '../../../lib/kubernetes/errors.ts';
import type { KubeResource } from '../../../lib/kubernetes/resource.ts';

/** A Secret, its values as they are (not in base64). */
export interface SecretData {
  readonly name: string;
  readonly namespace: string;
  readonly values: Readonly<Record<string, string>>;
}

export interface SecretPlace {
  readonly client: Pick<KubeClient, 'get' | 'create'>;
  readonly namespace: string;
  readonly name: string;
}

interface SecretObject extends KubeResource {
  readonly data?: Readonly<Record<string, string>>;
}

/**
 * Reads a Secret, and makes it where it is not there. Of several who make it at once one wins, and all have what that one made.
 *
 * @param make values for a new one
 * @throws KubeApiError
 */
export async function ensureSecret(
  { client, namespace, name }: SecretPlace,
  make: () => Promise<Readonly<Record<string, string>>>,
): Promise<SecretData> {
  const collection = `/api/v1/namespaces/${namespace}/secrets`;
  const read = async (): Promise<SecretData | undefined> => {
    try {
      return secretOf(await client.get<SecretObject>(`${collection}/${name}`));
    } catch (error) {
      if (hasStatus(error, 404)) return undefined;
      throw error;
    }
  };
  const existing = await read();
  if (existing !== undefined) return existing;
  try {
    const made = await client.create<SecretObject>(collection, {
      apiVersion: 'v1',
      kind: 'Secret',
      type: 'Opaque',
      metadata: { name, namespace, labels: { 'app.kubernetes.io/managed-by': 'loam-controller' } },
      data: Object.fromEntries(
        Object.entries(await make()).map(([key, value]) => [key, Buffer.from(value).toString('base64')]),
      ),
    });
    return secretOf(made);
  } catch (error) {
    if (!hasStatus(error, 409)) throw error;
    const others = await read();
    if (others !== undefined) return others;
    throw error;
  }
}

/** The Secret in an object of the API. */
export function secretOf(object: KubeResource): SecretData {
  const { metadata, data = {} } = object as SecretObject;
  return {
    name: metadata.name,
    namespace: metadata.namespace ?? '',
    values: Object.fromEntries(
      Object.entries(data).map(([key, value]) => [
        key,
        Buffer.from(String(value), 'base64').toString('utf8'),
      ]),
    ),
  };
}
