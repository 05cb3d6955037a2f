/** What is known of an installation in a cluster. */
import type { ApiObject, ClusterApi } from './cluster/api.ts';
import { collectionPath } from './cluster/kinds.ts';
import { RECORD_NAME } from './render/record.ts';
import { isOurs } from './ownership.ts';

/** An installation that is there. */
export interface Installed {
  readonly namespace: string;
  /** Whether `loam install` made it, or Helm. */
  readonly by: 'loam' | 'helm';
  /** Of the Loam that installed it; undefined: of one that did not say so. */
  readonly version: string | undefined;
  /** As they were given, defaults included. */
  readonly values: Readonly<Record<string, unknown>>;
}

type RecordObject = ApiObject & { readonly data?: { readonly values?: string; readonly version?: string } };

/** The installation in a namespace, if there is one. @throws ApiError */
export async function installedIn(
  api: Pick<ClusterApi, 'find'>,
  namespace: string,
): Promise<Installed | undefined> {
  const found = await api.find<RecordObject>(`${collectionPath('v1/ConfigMap', namespace)}/${RECORD_NAME}`);
  if (found === undefined) return undefined;
  return {
    namespace,
    by: isOurs(found) ? 'loam' : 'helm',
    version: found.data?.version,
    values: JSON.parse(found.data?.values ?? '{}') as Record<string, unknown>,
  };
}
