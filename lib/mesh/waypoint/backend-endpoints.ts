import { spiffeUri } from '../../spiffe.ts';
import type { HostPort } from '../hbone/host-port.ts';
import { endpointAddress } from '../state/address-family.ts';
import { localityRank } from '../state/load-balancer.ts';
import type { GatewayAddress, Service, Workload } from '../state/model.ts';
import type { WorkloadStore } from '../state/workload-store.ts';

const HBONE_PORT = 15008;

/** How an endpoint is reached. */
export type Path =
  | {
      readonly via: 'hbone';
      /** Where TLS goes: a pod, or an instance of another waypoint. */
      readonly tunnel: HostPort;
      readonly tunnelUid: string;
      readonly expectedIdentities: readonly string[];
      /** What the CONNECT names. */
      readonly target: HostPort;
    }
  | { readonly via: 'direct'; readonly target: HostPort };

/** One place where requests to a backend can go: a workload and the port on it. */
export interface Endpoint {
  /** The workload's uid. */
  readonly uid: string;
  readonly address: string;
  /** Target port. */
  readonly port: number;
  /** Share of the load; 0 gets no new requests, sessions that name it stay. */
  readonly weight: number;
  /** 0 is nearest; a larger one is used only when no smaller one has a usable endpoint. */
  readonly rank: number;
  /** Readiness, as the controller tells it. */
  readonly healthy: boolean;
}

export interface BackendEndpoint {
  readonly endpoint: Endpoint;
  readonly workload: Workload;
  readonly path: Path;
}

/** What a waypoint goes by. */
export interface BackendContext {
  readonly workloads: WorkloadStore;
  readonly network: string;
  /** Key of this waypoint's own Service: what is behind another waypoint is reached through that one. */
  readonly ownService: string;
  /** This waypoint as a workload, for locality; undefined until it is known. */
  readonly self: Workload | undefined;
}

export interface BackendEndpoints {
  readonly endpoints: BackendEndpoint[];
  /** The Service of another waypoint that stands before it. */
  readonly via: string | undefined;
  /** Of that only the address is known, and no Service that has it: any that comes may be it. */
  readonly viaUnknown: boolean;
}

/** The endpoints of a backend, a Service and a port of it, as a waypoint reaches them. */
export function backendEndpoints(context: BackendContext, key: string, port: number): BackendEndpoints {
  const { workloads, network, self } = context;
  const none = { endpoints: [], via: undefined, viaUnknown: false };
  const service = workloads.service(key);
  if (service === undefined) return none;
  const other = otherWaypoint(context, service);
  if (other !== undefined) return behindWaypoint(context, service, port, other);
  const servicePort = service.ports.find((p) => p.servicePort === port);
  if (servicePort === undefined) return none;
  const { mode, routingPreference, allowUnhealthy } = service.loadBalancing;
  const scopes = mode === 'strict' || mode === 'failover' ? routingPreference : [];
  const found: BackendEndpoint[] = [];
  for (const { workload, ports } of workloads.endpoints(key).values()) {
    if (workload.network !== network) continue;
    const target = ports.find((p) => p.servicePort === port && p.targetPort !== 0)?.targetPort;
    const targetPort = target ?? (servicePort.targetPort || undefined);
    const address = endpointAddress(workload, { families: service.ipFamilies, source: self });
    if (targetPort === undefined || address === undefined) continue;
    const shared = self === undefined ? scopes.length : localityRank(workload, self, scopes);
    if (mode === 'strict' && shared < scopes.length) continue;
    found.push({
      workload,
      path: pathTo(workload, address, targetPort, identitiesOf(workload, service)),
      endpoint: {
        uid: workload.uid,
        address,
        port: targetPort,
        weight: workload.capacity,
        rank: scopes.length - shared,
        healthy: workload.healthy || allowUnhealthy,
      },
    });
  }
  return { ...none, endpoints: found };
}

/** How a pod's port is reached: through its tunnel when it has one. */
export function pathTo(
  workload: Workload,
  address: string,
  port: number,
  expectedIdentities: readonly string[],
): Path {
  const target = { ip: address, port };
  if (workload.tunnelProtocol !== 'hbone') return { via: 'direct', target };
  return {
    via: 'hbone',
    tunnel: { ip: address, port: HBONE_PORT },
    tunnelUid: workload.uid,
    expectedIdentities,
    target,
  };
}

function identitiesOf(workload: Workload, service: Service): string[] {
  return [spiffeUri(workload.identity), ...service.subjectAltNames.filter((s) => s.startsWith('spiffe://'))];
}

function otherWaypoint(context: BackendContext, { waypoint }: Service): GatewayAddress | undefined {
  if (waypoint === undefined) return undefined;
  return keyOf(context, waypoint) === context.ownService ? undefined : waypoint;
}

function keyOf({ workloads, network }: BackendContext, waypoint: GatewayAddress): string | undefined {
  return waypoint.by === 'hostname'
    ? waypoint.service
    : workloads.serviceAtExactly(network, waypoint.address.ip)?.key;
}

/** Another waypoint stands before that Service: its instances are the endpoints, and it chooses the pod. */
function behindWaypoint(
  context: BackendContext,
  service: Service,
  port: number,
  waypoint: GatewayAddress,
): BackendEndpoints {
  const { workloads, network, self } = context;
  const key = keyOf(context, waypoint);
  // The service's primary address: what the other waypoint makes of it does not depend on its family.
  const vip = service.addresses.find((a) => a.network === network && a.range === undefined)?.ip;
  const families = (key === undefined ? undefined : workloads.service(key)?.ipFamilies) ?? 'automatic';
  if (key === undefined || vip === undefined)
    return { endpoints: [], via: key, viaUnknown: key === undefined };
  const endpoints = [...workloads.endpoints(key).values()].flatMap(({ workload }): BackendEndpoint[] => {
    const address = endpointAddress(workload, { families, source: self });
    if (address === undefined || workload.network !== network) return [];
    return [
      {
        workload,
        path: {
          via: 'hbone',
          tunnel: { ip: address, port: waypoint.hboneMtlsPort || HBONE_PORT },
          tunnelUid: workload.uid,
          expectedIdentities: [spiffeUri(workload.identity)],
          target: { ip: vip, port },
        },
        endpoint: {
          uid: workload.uid,
          address,
          port,
          weight: workload.capacity,
          rank: 0,
          healthy: workload.healthy,
        },
      },
    ];
  });
  return { endpoints, via: key, viaUnknown: false };
}
