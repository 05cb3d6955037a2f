/** Whose an object of an installation is: the command line's, or Helm's. */
import type { ApiObject } from './cluster/api.ts';
import type { Manifest } from './render/manifest.ts';

export const FIELD_MANAGER = 'loam-install';
const MANAGED_BY = 'app.kubernetes.io/managed-by';

/** Marks what the command line keeps, as Helm marks what Helm does. */
const OURS = { [MANAGED_BY]: 'loam' } as const;

/** Whether the command line made it. */
export function isOurs({ metadata }: Pick<ApiObject, 'metadata'>): boolean {
  return metadata.labels?.[MANAGED_BY] === OURS[MANAGED_BY];
}

/** As it is applied. */
export function marked(object: Manifest): Manifest {
  return { ...object, metadata: { ...object.metadata, labels: { ...object.metadata.labels, ...OURS } } };
}
