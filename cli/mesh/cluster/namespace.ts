import type { V1Namespace } from '@kubernetes/client-node';
import { didYouMean } from '../../../lib/did-you-mean.ts';
import { MeshError } from '../errors.ts';
import type { ClusterObjects } from './objects.ts';

/** How many names an error lists. */
const MAX_NAMES = 12;

/**
 * Sees that a namespace that was named is there: of one that is not, everything is well. Whoever may not list namespaces is believed.
 *
 * @param objects that nobody else asks: what is missing to this check is missing to no answer
 * @throws MeshError MESH_INPUT
 */
export async function requireNamespace(
  objects: Pick<ClusterObjects, 'list' | 'missingFor'>,
  namespace: string | undefined,
): Promise<void> {
  if (namespace === undefined) return;
  const found = await objects.list<V1Namespace>('v1/Namespace');
  if (objects.missingFor('v1/Namespace') !== undefined) return;
  const names = found.map(({ metadata }) => metadata?.name ?? '').sort();
  if (names.includes(namespace)) return;
  const guess = didYouMean(namespace, names);
  const shown = names.slice(0, MAX_NAMES).join(', ');
  const more = names.length > MAX_NAMES ? ` and ${names.length - MAX_NAMES} more` : '';
  const hint = guess === undefined ? `; there are: ${shown}${more}` : `; did you mean ${guess}?`;
  throw new MeshError('MESH_INPUT', `there is no namespace ${JSON.stringify(namespace)}${hint}`);
}
