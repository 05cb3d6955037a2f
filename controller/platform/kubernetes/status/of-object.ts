import { WAYPOINT_CLASS } from '../../../model/gateway-api.ts';
import type { Kind } from '../../../model/meta.ts';
import { type KubeObject, namespaceOf } from '../../../model/objects.ts';
import type { GatewayAssignment } from '../../../sources/assignments.ts';
import {
  attachedPolicyStatus,
  classStatus,
  gatewayStatus,
  policyStatus,
  routeStatus,
  type Status,
  type StatusInput,
} from './desired.ts';

/** Kinds into whose status we write. */
export const WRITTEN_KINDS: readonly Kind[] = [
  'Gateway',
  'GatewayClass',
  'HTTPRoute',
  'GRPCRoute',
  'AuthorizationPolicy',
  'PeerAuthentication',
  'RequestAuthentication',
  'TrafficPolicy',
  'EgressPolicy',
  'MeshSettings',
  'ServiceEntry',
  'Telemetry',
];

/**
 * The status that an object should have; undefined where it is not ours to say.
 *
 * @param gateways where waypoints are, by `<namespace>/<name>`
 */
export function statusOf(
  object: KubeObject,
  gateways: Readonly<Record<string, GatewayAssignment>>,
  input: StatusInput,
): Status | undefined {
  switch (object.kind) {
    case 'Gateway': {
      if (object.spec.gatewayClassName !== WAYPOINT_CLASS) return undefined;
      const place = gateways[`${namespaceOf(object)}/${object.metadata.name}`];
      return gatewayStatus(object, place?.clusterIPs ?? [], input);
    }
    case 'GatewayClass':
      return classStatus(object, input);
    case 'HTTPRoute':
    case 'GRPCRoute':
      return routeStatus(object, input);
    case 'TrafficPolicy':
      return attachedPolicyStatus(object.spec.targetRefs, namespaceOf(object), input);
    case 'AuthorizationPolicy':
    case 'PeerAuthentication':
    case 'RequestAuthentication':
    case 'EgressPolicy':
    case 'MeshSettings':
    case 'ServiceEntry':
    case 'Telemetry':
      return policyStatus(input);
    default:
      return undefined;
  }
}
