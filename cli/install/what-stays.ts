/** What an uninstallation leaves, since it is the users' own: said at its end, so that the next installation surprises nobody. */
import { DATAPLANE_MODE_LABEL } from '../../lib/enrolment.ts';
import type { ApiObject, ClusterApi } from './cluster/api.ts';
import { collectionPath } from './cluster/kinds.ts';

const MOST_NAMED = 10;

/**
 * @returns lines for people. Who may not read namespaces is told of none: the uninstallation has not failed by it.
 */
export async function whatStays(api: Pick<ClusterApi, 'list'>): Promise<string[]> {
  const lines = [
    'Definitions of kinds stay, with the objects of their users; what their statuses tell is of the time before, and nothing enforces it now.',
  ];
  const labelled = await api
    .list<ApiObject>(collectionPath('v1/Namespace'), { labelSelector: `${DATAPLANE_MODE_LABEL}=ambient` })
    .catch(() => []);
  if (labelled.length === 0) return lines;
  const names = labelled.map(({ metadata }) => metadata.name);
  const more = names.length > MOST_NAMED ? ` and ${names.length - MOST_NAMED} more` : '';
  lines.push(
    `Still labelled, and so in the mesh again with the next installation: namespaces ${names.slice(0, MOST_NAMED).join(', ')}${more}. To take a label off: kubectl label namespace ${names[0] ?? ''} ${DATAPLANE_MODE_LABEL}-`,
  );
  return lines;
}
