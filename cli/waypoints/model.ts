/** What the API server has of waypoints, as `loam waypoint` reads and writes it. */
import type { ApiObject, ClusterApi } from '../install/cluster/api.ts';

export { WAYPOINT_CLASS } from '../install/render/manifest.ts';

/** On a Namespace, Service or Pod: the name of its waypoint's Gateway; `none` opts out of the namespace's. */
export const USE_WAYPOINT_LABEL = 'loam.dev/use-waypoint';
export const USE_WAYPOINT_NAMESPACE_LABEL = 'loam.dev/use-waypoint-namespace';
export const WAYPOINT_FOR_LABEL = 'loam.dev/waypoint-for';
export const REPLICAS_ANNOTATION = 'loam.dev/replicas';
/** Of the pods of a Gateway (Gateway API, GEP-1762). */
export const GATEWAY_NAME_LABEL = 'gateway.networking.k8s.io/gateway-name';

export const WAYPOINT_FOR = ['service', 'workload', 'all'] as const;
export type WaypointFor = (typeof WAYPOINT_FOR)[number];
export const DEFAULT_WAYPOINT_FOR: WaypointFor = 'service';

export const HBONE_PORT = 15008;
export const FIELD_MANAGER = 'loam-cli';

/** The part of the API that the command needs. */
export type WaypointApi = Pick<ClusterApi, 'find' | 'list' | 'apply' | 'merge' | 'delete'>;

export interface Condition {
  readonly type: string;
  readonly status: string;
  readonly reason?: string;
  readonly message?: string;
  readonly observedGeneration?: number;
}

export interface GatewayObject extends ApiObject {
  readonly spec: {
    readonly gatewayClassName: string;
    readonly listeners: readonly {
      readonly allowedRoutes?: { readonly namespaces?: { readonly from?: string } };
    }[];
  };
  readonly status?: {
    readonly addresses?: readonly { readonly value: string }[];
    readonly conditions?: readonly Condition[];
  };
}

/** `<namespace>/<name>` */
export function keyOf({ metadata }: ApiObject): string {
  return `${metadata.namespace ?? ''}/${metadata.name}`;
}

/** A condition that was said about what the object is now. */
export function conditionOf(gateway: GatewayObject, type: string): Condition | undefined {
  const found = gateway.status?.conditions?.find((each) => each.type === type);
  if (found === undefined) return undefined;
  return (found.observedGeneration ?? 0) >= (gateway.metadata.generation ?? 0) ? found : undefined;
}
