/** How a waypoint is: what its Gateway says, and what its Deployment and pods say. */
import type { V1Deployment, V1Pod } from '@kubernetes/client-node';
import { collectionPath } from '../install/cluster/kinds.ts';
import { reasonOf } from '../install/cluster/pod-reasons.ts';
import {
  conditionOf,
  DEFAULT_WAYPOINT_FOR,
  GATEWAY_NAME_LABEL,
  type GatewayObject,
  WAYPOINT_FOR_LABEL,
  type WaypointApi,
} from './model.ts';
import { type User, usersOf } from './users.ts';

export interface WaypointHealth {
  readonly namespace: string;
  readonly name: string;
  readonly for: string;
  /** Whether it takes traffic as it is asked for now. */
  readonly programmed: boolean;
  readonly address: string | undefined;
  readonly replicas: { readonly ready: number; readonly wanted: number };
  readonly pods: readonly {
    readonly name: string;
    readonly node: string | undefined;
    /** Absent when it is ready. */
    readonly problem?: string;
  }[];
  readonly users: readonly User[];
  /** What keeps it from working, or part of it; a person can go on from there. */
  readonly problems: readonly string[];
}

/** @param users of all waypoints */
export async function healthOf(
  api: WaypointApi,
  gateway: GatewayObject,
  users: readonly User[],
): Promise<WaypointHealth> {
  const { name, namespace = '', labels = {} } = gateway.metadata;
  const deployment = await api.find<V1Deployment>(
    `${collectionPath('apps/v1/Deployment', namespace)}/${name}`,
  );
  const isOwn =
    deployment?.metadata?.ownerReferences?.some(({ uid }) => uid === gateway.metadata.uid) === true;
  const pods = (
    await api.list<V1Pod>(collectionPath('v1/Pod', namespace), {
      labelSelector: `${GATEWAY_NAME_LABEL}=${name}`,
    })
  ).filter(({ metadata }) => metadata?.deletionTimestamp === undefined);
  const programmed = conditionOf(gateway, 'Programmed');
  return {
    namespace,
    name,
    for: labels[WAYPOINT_FOR_LABEL] ?? DEFAULT_WAYPOINT_FOR,
    programmed: programmed?.status === 'True',
    address: gateway.status?.addresses?.[0]?.value,
    replicas: {
      ready: isOwn ? (deployment.status?.readyReplicas ?? 0) : 0,
      wanted: isOwn ? (deployment.spec?.replicas ?? 1) : 1,
    },
    pods: pods.map((pod) => {
      const problem = reasonOf(pod);
      return {
        name: pod.metadata?.name ?? '',
        node: pod.spec?.nodeName,
        ...(problem === undefined ? {} : { problem }),
      };
    }),
    users: usersOf(gateway, users),
    problems: problemsOf(gateway, deployment, isOwn),
  };
}

function problemsOf(gateway: GatewayObject, deployment: V1Deployment | undefined, isOwn: boolean): string[] {
  const { name, namespace = '' } = gateway.metadata;
  const said = (gateway.status?.conditions ?? []).length > 0;
  const problems: string[] = [];
  for (const type of ['Accepted', 'Programmed']) {
    const condition = conditionOf(gateway, type);
    if (condition === undefined || condition.status === 'True') continue;
    const text = `${type} is ${condition.status} (${condition.reason ?? ''}): ${condition.message ?? ''}`;
    if (!problems.includes(text)) problems.push(text);
  }
  if (conditionOf(gateway, 'Programmed') === undefined)
    problems.push(
      said
        ? 'the controllers have not seen its last change yet'
        : 'no controller has said anything of it: see that Loam runs (loam check)',
    );
  if (deployment !== undefined && !isOwn)
    problems.push(
      `Deployment ${namespace}/${name} is there and is not the waypoint's: delete it, or choose another name for the waypoint`,
    );
  else if (isOwn && deployment?.spec?.replicas === 0)
    problems.push(
      `it is scaled to 0, so that connections of its users are refused: kubectl scale deployment ${name} -n ${namespace} --replicas=1`,
    );
  return problems;
}

/** Whether nothing is left to be wished. */
export function isWell({ programmed, replicas, problems }: WaypointHealth): boolean {
  return programmed && replicas.ready >= replicas.wanted && problems.length === 0;
}
