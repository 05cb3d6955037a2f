/** Who asks for which waypoint, by labels. */
import type { ApiObject } from '../install/cluster/api.ts';
import { collectionPath } from '../install/cluster/kinds.ts';
import { keyOf, USE_WAYPOINT_LABEL, USE_WAYPOINT_NAMESPACE_LABEL, type WaypointApi } from './model.ts';

/** An object that has the label. */
export interface User {
  readonly kind: 'Namespace' | 'Service' | 'Pod';
  readonly namespace: string;
  readonly name: string;
  /** `<namespace>/<name>` of the Gateway. */
  readonly gateway: string;
}

const KINDS = ['Namespace', 'Service', 'Pod'] as const;

/** All Namespaces, Services and Pods that ask for a waypoint themselves; those that ask for none are not among them. */
export async function usersOfWaypoints(api: WaypointApi): Promise<User[]> {
  const query = { labelSelector: `${USE_WAYPOINT_LABEL},${USE_WAYPOINT_LABEL}!=none` };
  const lists = await Promise.all(
    KINDS.map(async (kind) =>
      (await api.list(collectionPath(`v1/${kind}`), query)).flatMap((object) => userOf(kind, object) ?? []),
    ),
  );
  return lists.flat();
}

function userOf(kind: User['kind'], { metadata }: ApiObject): User | undefined {
  const { name, labels = {} } = metadata;
  const namespace = kind === 'Namespace' ? name : (metadata.namespace ?? '');
  const gateway = labels[USE_WAYPOINT_LABEL] ?? '';
  if (gateway === '' || gateway === 'none') return undefined;
  return {
    kind,
    namespace,
    name,
    gateway: `${labels[USE_WAYPOINT_NAMESPACE_LABEL] ?? namespace}/${gateway}`,
  };
}

/** `Service shop/payments`, `Namespace shop` */
export function userText({ kind, namespace, name }: User): string {
  return kind === 'Namespace' ? `Namespace ${name}` : `${kind} ${namespace}/${name}`;
}

/** The command that takes the label away. */
export function withoutLabel({ kind, namespace, name }: User): string {
  const inside = kind === 'Namespace' ? '' : ` -n ${namespace}`;
  return `kubectl label ${kind.toLowerCase()} ${name}${inside} ${USE_WAYPOINT_LABEL}-`;
}

export function usersOf(gateway: ApiObject, users: readonly User[]): User[] {
  return users.filter((user) => user.gateway === keyOf(gateway));
}
