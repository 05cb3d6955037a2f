/** Finding Gateways of Loam's class, and making one. */
import type { Manifest } from '../install/render/manifest.ts';
import { collectionPath } from '../install/cluster/kinds.ts';
import { InstallError } from '../install/errors.ts';
import {
  type GatewayObject,
  HBONE_PORT,
  REPLICAS_ANNOTATION,
  WAYPOINT_CLASS,
  WAYPOINT_FOR_LABEL,
  type WaypointApi,
  type WaypointFor,
} from './model.ts';

const GATEWAY = 'gateway.networking.k8s.io/v1/Gateway';

export interface WaypointWish {
  readonly namespace: string;
  readonly name: string;
  readonly for: WaypointFor;
  /** Undefined: left to others, as to an autoscaler. */
  readonly replicas: number | undefined;
  /** Whose Services may have it: of its own namespace, or of all. */
  readonly from: 'Same' | 'All';
}

export function gatewayManifest(wish: WaypointWish): Manifest & { readonly spec: object } {
  const { namespace, name, replicas, from } = wish;
  return {
    apiVersion: 'gateway.networking.k8s.io/v1',
    kind: 'Gateway',
    metadata: {
      ...{ name, namespace, labels: { [WAYPOINT_FOR_LABEL]: wish.for } },
      ...(replicas === undefined ? {} : { annotations: { [REPLICAS_ANNOTATION]: String(replicas) } }),
    },
    spec: {
      gatewayClassName: WAYPOINT_CLASS,
      listeners: [
        {
          ...{ name: 'mesh', port: HBONE_PORT, protocol: 'HBONE' },
          allowedRoutes: { namespaces: { from } },
        },
      ],
    },
  };
}

export function gatewayPath(namespace: string, name: string): string {
  return `${collectionPath(GATEWAY, namespace)}/${name}`;
}

/** The waypoint of that name; undefined where there is none. @throws InstallError where it is another class's Gateway */
export async function findGateway(
  api: WaypointApi,
  namespace: string,
  name: string,
): Promise<GatewayObject | undefined> {
  const found = await api.find<GatewayObject>(gatewayPath(namespace, name));
  if (found !== undefined && found.spec.gatewayClassName !== WAYPOINT_CLASS)
    throw new InstallError(
      'INSTALL_STATE',
      `Gateway ${namespace}/${name} is of class ${found.spec.gatewayClassName}, not ${WAYPOINT_CLASS}: it is no waypoint; choose another name`,
    );
  return found;
}

/** @throws InstallError where there is no such waypoint; says which there are */
export async function needGateway(api: WaypointApi, namespace: string, name: string): Promise<GatewayObject> {
  const found = await findGateway(api, namespace, name);
  if (found !== undefined) return found;
  const there = (await gateways(api, namespace)).map(({ metadata }) => metadata.name);
  throw new InstallError(
    'INSTALL_STATE',
    `there is no waypoint ${namespace}/${name}; ` +
      (there.length > 0
        ? `in ${namespace} there is: ${there.join(', ')}`
        : `there is none in ${namespace} (loam waypoint list -A shows all, loam waypoint apply makes one)`),
  );
}

/** All waypoints of a namespace, or of all, by name. */
export async function gateways(api: WaypointApi, namespace: string | undefined): Promise<GatewayObject[]> {
  const all = await api.list<GatewayObject>(collectionPath(GATEWAY, namespace));
  return all
    .filter(({ spec }) => spec.gatewayClassName === WAYPOINT_CLASS)
    .sort((a, b) => (orderOf(a) < orderOf(b) ? -1 : 1));
}

function orderOf({ metadata }: GatewayObject): string {
  return `${metadata.namespace ?? ''} ${metadata.name}`;
}
