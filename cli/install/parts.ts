/** The objects of an installation that are in a cluster, whatever values and version they were made by. */
import type { ApiObject, ClusterApi } from './cluster/api.ts';
import { collectionPath } from './cluster/kinds.ts';
import { PART_OF, type Manifest } from './render/manifest.ts';

/** Kinds of which an installation has objects, in the order in which they are best removed: what acts goes before what it may do. */
const KINDS = [
  'apps/v1/Deployment',
  'apps/v1/DaemonSet',
  // Of a `helm uninstall` that did not end.
  'batch/v1/Job',
  'policy/v1/PodDisruptionBudget',
  'v1/Service',
  'v1/ConfigMap',
  'gateway.networking.k8s.io/v1/GatewayClass',
  'rbac.authorization.k8s.io/v1/RoleBinding',
  'rbac.authorization.k8s.io/v1/Role',
  'rbac.authorization.k8s.io/v1/ClusterRoleBinding',
  'rbac.authorization.k8s.io/v1/ClusterRole',
  'v1/ServiceAccount',
] as const;

/** An object that was found. */
export type Part = Manifest & ApiObject;

/** Found by their label, in the namespace of the installation and beyond namespaces. @throws ApiError */
export async function partsOf(api: Pick<ClusterApi, 'list'>, namespace: string): Promise<Part[]> {
  const labelSelector = Object.entries(PART_OF)
    .map(([key, value]) => `${key}=${value}`)
    .join();
  const found = await Promise.all(
    KINDS.map(async (name) => {
      const at = name.lastIndexOf('/');
      const [apiVersion, kind] = [name.slice(0, at), name.slice(at + 1)];
      const objects = await api.list<ApiObject>(collectionPath(name, namespace), { labelSelector });
      // Items of a list do not say what they are.
      return objects.map((object): Part => ({ ...object, apiVersion, kind }));
    }),
  );
  return found.flat();
}
