import { didYouMean } from '../../lib/did-you-mean.ts';
import { LocalMeshError } from './errors.ts';
import type { MeshStatus } from './status.ts';

/** How many names an error lists. */
const MAX_NAMES = 10;

/**
 * The status with the pods, waypoints and objects of one namespace alone. Programs, and what is wrong, are the whole mesh's.
 *
 * @throws LocalMeshError LOCAL_MESH_INPUT when nothing of the mesh names that namespace
 */
export function statusInNamespace(status: MeshStatus, namespace: string): MeshStatus {
  const { report, controller } = status;
  const objects = controller?.objects ?? [];
  const named = (each: { kind?: string; namespace: string; name: string }): boolean =>
    each.namespace === namespace || (each.kind === 'Namespace' && each.name === namespace);
  const known = new Set(
    [...report.pods, ...report.waypoints, ...objects].flatMap((each) =>
      'kind' in each && each.kind === 'Namespace' ? each.name : each.namespace,
    ),
  );
  known.delete('');
  // Without its controller nobody can say what there is not.
  if (!known.has(namespace) && controller !== undefined)
    throw unknownNamespace(report.mesh, namespace, known);
  return {
    ...status,
    report: {
      ...report,
      pods: report.pods.filter(named),
      waypoints: report.waypoints.filter((each) => each.namespace === namespace),
    },
    ...(controller && { controller: { ...controller, objects: objects.filter(named) } }),
  };
}

function unknownNamespace(mesh: string, namespace: string, known: ReadonlySet<string>): LocalMeshError {
  const names = [...known].sort();
  const guess = didYouMean(namespace, names);
  const listed = names.slice(0, MAX_NAMES).join(', ') || 'none';
  return new LocalMeshError(
    'LOCAL_MESH_INPUT',
    `the mesh ${mesh} has no namespace ${JSON.stringify(namespace)}${guess === undefined ? '' : `; did you mean ${guess}?`}; there are: ${listed}${names.length > MAX_NAMES ? ` and ${names.length - MAX_NAMES} more` : ''}`,
  );
}
