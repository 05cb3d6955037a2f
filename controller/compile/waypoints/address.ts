import { create } from '@bufbuild/protobuf';
import {
  type Address,
  AddressSchema,
  ServiceSchema,
  TunnelProtocol,
  WorkloadSchema,
  WorkloadStatus,
  WorkloadType,
} from '../../../proto/gen/istio/workload/workload_pb.js';
import { familyOf } from '../../../lib/ip-families.ts';
import type { GatewayAssignment } from '../../sources/assignments.ts';
import type { Localities } from '../localities.ts';
import { addressBytes, canonicalAddress } from '../addresses.ts';
import { familiesOnWire, hostnameOf } from '../services.ts';
import { DEFAULT_TRUST_DOMAIN, workloadUid } from '../workloads.ts';
import type { Waypoint, World } from './world.ts';

/** Where a waypoint takes HBONE. */
export const HBONE_PORT = 15008;

/** One resource that tells nodes where a waypoint is. */
export interface WaypointAddress {
  readonly name: string;
  readonly address: Address;
  readonly ips: readonly string[];
  readonly members: readonly string[];
}

/** Where a waypoint is, or what it waits for. */
export interface PlannedWaypoint {
  readonly resources: readonly WaypointAddress[];
  readonly pending?: string;
  /** Whether an instance takes connections. */
  readonly ready: boolean;
}

/** Where a waypoint is to be found, once the local mesh (or a cluster) has given it a place. */
export function planWaypoint(
  waypoint: Waypoint,
  assignment: GatewayAssignment | undefined,
  { services, localities }: World,
  mesh: { readonly clusterId: string; readonly trustDomain: string },
): PlannedWaypoint {
  const nothing = { resources: [], ready: false };
  if (services.has(waypoint.key))
    return { ...nothing, pending: `the Service ${waypoint.key} has the name that its own Service needs` };
  if (assignment === undefined) return { ...nothing, pending: 'no address yet' };
  return {
    resources: waypointAddresses(waypoint, assignment, { ...mesh, localities }),
    ready: assignment.instances.some(({ ready }) => ready === true),
  };
}

/**
 * The Service of a waypoint, by which Services and workloads name it, and one workload for each of its instances. Both
 * stand for what Istio's control plane makes of a waypoint's Deployment and Service.
 */
function waypointAddresses(
  waypoint: Waypoint,
  { clusterIPs, instances }: GatewayAssignment,
  { clusterId, trustDomain, localities }: { clusterId: string; trustDomain: string; localities: Localities },
): WaypointAddress[] {
  const { namespace, name } = waypoint;
  const hostname = hostnameOf(namespace, name);
  const key = `${namespace}/${hostname}`;
  const port = { servicePort: HBONE_PORT, targetPort: HBONE_PORT };
  const service = create(ServiceSchema, {
    name,
    namespace,
    hostname,
    addresses: clusterIPs.map((ip) => ({ network: '', address: addressBytes(ip) })),
    ports: [port],
    ipFamilies: familiesOnWire(clusterIPs.map(familyOf)),
    canonical: true,
  });
  const workloads = instances.map((instance): WaypointAddress => {
    const pod = instanceName(name, instance.name);
    const uid = workloadUid(clusterId, namespace, pod);
    const locality = localities.get(instance.node);
    const value = create(WorkloadSchema, {
      uid,
      name: pod,
      namespace,
      addresses: instance.ips.map(addressBytes),
      tunnelProtocol: TunnelProtocol.HBONE,
      // It speaks HBONE itself: its node's ztunnel stands not before it.
      nativeTunnel: true,
      trustDomain: trustDomain === DEFAULT_TRUST_DOMAIN ? '' : trustDomain,
      serviceAccount: name,
      node: instance.node,
      canonicalName: name,
      canonicalRevision: 'latest',
      workloadType: WorkloadType.POD,
      workloadName: name,
      services: { [key]: { ports: [port] } },
      status: instance.ready === true ? WorkloadStatus.HEALTHY : WorkloadStatus.UNHEALTHY,
      clusterId,
      ...(locality !== undefined && { locality }),
    });
    return {
      name: uid,
      ips: instance.ips.map(canonicalAddress),
      members: [key],
      address: create(AddressSchema, { type: { case: 'workload', value } }),
    };
  });
  const address = create(AddressSchema, { type: { case: 'service', value: service } });
  return [{ name: key, address, ips: clusterIPs.map(canonicalAddress), members: [] }, ...workloads];
}

/** The name of an instance as a pod's: as a Deployment would, with the Gateway's name in front. */
export function instanceName(gateway: string, instance: string): string {
  return instance.startsWith(`${gateway}-`) ? instance : `${gateway}-${instance}`;
}
