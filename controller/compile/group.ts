import {
  type AuthorizationPolicy,
  type EgressPolicy,
  type EndpointSlice,
  type Gateway,
  type GRPCRoute,
  type HTTPRoute,
  type KubeObject,
  type MeshSettings,
  type Namespace,
  type Node,
  namespaceOf,
  type PeerAuthentication,
  type Pod,
  type ReferenceGrant,
  type RequestAuthentication,
  type Service,
  type ServiceAccount,
  type ServiceEntry,
  type Telemetry,
  type TrafficPolicy,
} from '../model/objects.ts';

/** The objects in force, by kind. */
export interface Objects {
  readonly namespaces: ReadonlyMap<string, Namespace>;
  readonly servicesByNamespace: ReadonlyMap<string, readonly Service[]>;
  readonly pods: readonly Pod[];
  readonly nodes: readonly Node[];
  readonly slices: readonly EndpointSlice[];
  readonly serviceEntries: readonly ServiceEntry[];
  readonly policies: readonly AuthorizationPolicy[];
  readonly peerAuthentications: readonly PeerAuthentication[];
  readonly requestAuthentications: readonly RequestAuthentication[];
  readonly trafficPolicies: readonly TrafficPolicy[];
  readonly egressPolicies: readonly EgressPolicy[];
  /** One at the most, since there is one name. */
  readonly meshSettings: readonly MeshSettings[];
  readonly telemetries: readonly Telemetry[];
  readonly gateways: readonly Gateway[];
  readonly routes: readonly (HTTPRoute | GRPCRoute)[];
  readonly grants: readonly ReferenceGrant[];
  readonly accounts: readonly ServiceAccount[];
}

/** Sorts objects by kind; the order within a kind stays. */
export function group(all: Iterable<KubeObject>): Objects {
  const namespaces = new Map<string, Namespace>();
  const servicesByNamespace = new Map<string, Service[]>();
  const pods: Pod[] = [];
  const nodes: Node[] = [];
  const slices: EndpointSlice[] = [];
  const serviceEntries: ServiceEntry[] = [];
  const policies: AuthorizationPolicy[] = [];
  const peerAuthentications: PeerAuthentication[] = [];
  const requestAuthentications: RequestAuthentication[] = [];
  const trafficPolicies: TrafficPolicy[] = [];
  const egressPolicies: EgressPolicy[] = [];
  const meshSettings: MeshSettings[] = [];
  const telemetries: Telemetry[] = [];
  const gateways: Gateway[] = [];
  const routes: (HTTPRoute | GRPCRoute)[] = [];
  const grants: ReferenceGrant[] = [];
  const accounts: ServiceAccount[] = [];
  for (const object of all) {
    switch (object.kind) {
      case 'Namespace':
        namespaces.set(object.metadata.name, object);
        break;
      case 'Service': {
        const list = servicesByNamespace.get(namespaceOf(object)) ?? [];
        list.push(object);
        servicesByNamespace.set(namespaceOf(object), list);
        break;
      }
      case 'Pod':
        pods.push(object);
        break;
      case 'Node':
        nodes.push(object);
        break;
      case 'EndpointSlice':
        slices.push(object);
        break;
      case 'ServiceEntry':
        serviceEntries.push(object);
        break;
      case 'AuthorizationPolicy':
        policies.push(object);
        break;
      case 'PeerAuthentication':
        peerAuthentications.push(object);
        break;
      case 'RequestAuthentication':
        requestAuthentications.push(object);
        break;
      case 'TrafficPolicy':
        trafficPolicies.push(object);
        break;
      case 'EgressPolicy':
        egressPolicies.push(object);
        break;
      case 'MeshSettings':
        meshSettings.push(object);
        break;
      case 'Telemetry':
        telemetries.push(object);
        break;
      case 'Gateway':
        gateways.push(object);
        break;
      case 'HTTPRoute':
      case 'GRPCRoute':
        routes.push(object);
        break;
      case 'ReferenceGrant':
        grants.push(object);
        break;
      case 'ServiceAccount':
        accounts.push(object);
        break;
      case 'GatewayClass':
        break;
    }
  }
  return {
    namespaces,
    servicesByNamespace,
    pods,
    nodes,
    slices,
    serviceEntries,
    policies,
    peerAuthentications,
    requestAuthentications,
    trafficPolicies,
    egressPolicies,
    meshSettings,
    telemetries,
    gateways,
    routes,
    grants,
    accounts,
  };
}
