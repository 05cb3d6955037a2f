import { create } from '@bufbuild/protobuf';
import {
  AppProtocol,
  type GatewayAddress,
  GatewayAddressSchema,
  IPFamilies,
  LoadBalancing_HealthPolicy,
  LoadBalancing_Mode,
  LoadBalancing_Scope,
  type Service as MeshService,
  ServiceSchema,
} from '../../proto/gen/istio/workload/workload_pb.js';
import { familyOf, givenClusterIps, type IpFamily, serviceFamilies } from '../../lib/ip-families.ts';
import { assertNever } from '../../lib/assert-never.ts';
import { labelsMatch } from '../model/labels.ts';
import type { Labels, Namespace, Pod, Service, ServicePort } from '../model/objects.ts';
import { namespaceOf } from '../model/objects.ts';
import type { Assignments } from '../sources/assignments.ts';
import { addressBytes, canonicalAddress } from './addresses.ts';
import { gatewayNameOf, takesTraffic, type TrafficTo } from './waypoints/labels.ts';

const CLUSTER_DOMAIN = 'cluster.local';
const HBONE_PORT = 15008;

export function hostnameOf(namespace: string, name: string): string {
  return `${name}.${namespace}.svc.${CLUSTER_DOMAIN}`;
}

/** The resource name of a service. */
export function serviceKey(service: { namespace: string; hostname: string }): string {
  return `${service.namespace}/${service.hostname}`;
}

/** Ports that ambient carries: TCP alone. */
export function tcpPorts(service: Service): readonly ServicePort[] {
  return (service.spec.ports ?? []).filter(({ protocol }) => (protocol ?? 'TCP') === 'TCP');
}

/** Whether a Service has no virtual address, so that its clients dial its pods. */
export function isHeadless({ spec: { clusterIP, clusterIPs } }: Service): boolean {
  return clusterIP === 'None' || clusterIPs?.[0] === 'None';
}

/** A Service's virtual addresses, canonical; none for a headless one or one that has none yet. */
export function serviceAddresses(service: Service, assignments: Assignments): string[] {
  if (isHeadless(service)) return [];
  const assigned = assignments.services[`${namespaceOf(service)}/${service.metadata.name}`]?.clusterIPs;
  return [...new Set((assigned ?? givenClusterIps(service.spec)).map(canonicalAddress))];
}

/** Why a Service compiles to nothing (yet), if so. */
export function servicePending(service: Service, assignments: Assignments): string | undefined {
  if (service.spec.type === 'ExternalName')
    return 'Services of type ExternalName are not carried by the mesh';
  if (!isHeadless(service) && serviceAddresses(service, assignments).length === 0) return 'no address yet';
  return undefined;
}

/** Compiles a Service that has an address or is headless. */
export function compileService(
  service: Service,
  namespace: Namespace | undefined,
  assignments: Assignments,
  gateways: WaypointLookup,
): MeshService {
  const ns = namespaceOf(service);
  const waypoint = waypointOf('service', ns, service.metadata.labels, namespace, gateways);
  const loadBalancing = loadBalancingOf(service);
  return create(ServiceSchema, {
    name: service.metadata.name,
    namespace: ns,
    hostname: hostnameOf(ns, service.metadata.name),
    addresses: serviceAddresses(service, assignments).map((ip) => ({
      network: '',
      address: addressBytes(ip),
    })),
    ports: tcpPorts(service).map((port) => ({
      servicePort: port.port,
      // 0 for a named port: each pod says what it means.
      targetPort: typeof port.targetPort === 'string' ? 0 : (port.targetPort ?? port.port),
      appProtocol: appProtocolOf(port),
    })),
    ipFamilies: ipFamiliesOf(service, assignments),
    canonical: true,
    ...(waypoint === undefined ? {} : { waypoint }),
    ...(loadBalancing === undefined ? {} : { loadBalancing }),
  });
}

function ipFamiliesOf(service: Service, assignments: Assignments): IPFamilies {
  const assigned = serviceAddresses(service, assignments).map(familyOf);
  return familiesOnWire(assigned.length > 0 ? assigned : serviceFamilies(service.spec));
}

/** @param families one or two */
export function familiesOnWire(families: readonly IpFamily[]): IPFamilies {
  if (!families.includes('IPv6')) return IPFamilies.IPV4_ONLY;
  return families.includes('IPv4') ? IPFamilies.DUAL : IPFamilies.IPV6_ONLY;
}

/** Protocol by `appProtocol`, else by the prefix of the port's name (Istio's protocol selection). */
function appProtocolOf(port: ServicePort): AppProtocol {
  const byPrefix = port.name?.split('-')[0];
  switch ((port.appProtocol ?? byPrefix ?? '').toLowerCase()) {
    case 'http':
      return AppProtocol.HTTP11;
    case 'http2':
    case 'kubernetes.io/h2c':
      return AppProtocol.HTTP2;
    case 'grpc':
    case 'grpc-web':
      return AppProtocol.GRPC;
    case 'tcp':
    case 'mysql':
    case 'mongo':
    case 'redis':
      return AppProtocol.TCP;
    case 'https':
    case 'tls':
      return AppProtocol.TLS;
    default:
      return AppProtocol.UNKNOWN;
  }
}

function loadBalancingOf(service: Service): MeshService['loadBalancing'] {
  const { internalTrafficPolicy, trafficDistribution, publishNotReadyAddresses } = service.spec;
  const { NETWORK, REGION, ZONE, SUBZONE, NODE } = LoadBalancing_Scope;
  const healthPolicy =
    publishNotReadyAddresses === true
      ? LoadBalancing_HealthPolicy.ALLOW_ALL
      : LoadBalancing_HealthPolicy.ONLY_HEALTHY;
  const base = { $typeName: 'istio.workload.LoadBalancing' as const, healthPolicy };
  if (internalTrafficPolicy === 'Local')
    return { ...base, routingPreference: [NODE], mode: LoadBalancing_Mode.STRICT };
  switch (trafficDistribution) {
    case 'PreferClose':
    case 'PreferSameZone':
      return { ...base, routingPreference: [NETWORK, REGION, ZONE], mode: LoadBalancing_Mode.FAILOVER };
    case 'PreferSameNode':
      return {
        ...base,
        routingPreference: [NETWORK, REGION, ZONE, SUBZONE, NODE],
        mode: LoadBalancing_Mode.FAILOVER,
      };
    default:
      return publishNotReadyAddresses === true
        ? { ...base, routingPreference: [], mode: LoadBalancing_Mode.UNSPECIFIED_MODE }
        : undefined;
  }
}

/** The Services of a namespace by their selectors, so that a pod need not be compared with each. */
export class ServiceIndex {
  /** By one label of the selector, as `key=value`; each with its place among all. */
  readonly #byLabel = new Map<string, { readonly at: number; readonly service: Service }[]>();

  constructor(services: readonly Service[]) {
    for (const [at, service] of services.entries()) {
      const [first] = Object.entries(service.spec.selector ?? {});
      // Without a selector it selects nothing.
      if (first === undefined) continue;
      const label = first.join('=');
      const same = this.#byLabel.get(label);
      if (same === undefined) this.#byLabel.set(label, [{ at, service }]);
      else same.push({ at, service });
    }
  }

  /** Those whose selector a pod has, in their order. */
  selecting({ metadata: { labels = {} } }: Pod): readonly Service[] {
    const found = Object.entries(labels).flatMap((label) =>
      (this.#byLabel.get(label.join('=')) ?? []).filter(({ service }) =>
        labelsMatch(service.spec.selector ?? {}, labels),
      ),
    );
    return found.sort((a, b) => a.at - b.at).map(({ service }) => service);
  }
}

/** The labels of the waypoint `<namespace>/<name>`; undefined when there is none of that name. */
export type WaypointLookup = (key: string) => { readonly labels: Labels } | undefined;

/**
 * The waypoint that an object or its namespace opts in to, for traffic to Services or to pods. One that does not exist
 * is written down all the same: a node refuses to go past a waypoint that it cannot reach, and that is what opting in
 * means. One that exists and does not take such traffic (`loam.dev/waypoint-for`) is not.
 */
export function waypointOf(
  to: TrafficTo,
  namespace: string,
  own: Labels | undefined,
  home: Namespace | undefined,
  gateways: WaypointLookup,
): GatewayAddress | undefined {
  const wanted = gatewayNameOf(namespace, own, home?.metadata.labels);
  if (wanted === undefined) return undefined;
  const found = gateways(`${wanted.namespace}/${wanted.name}`);
  if (found !== undefined && !takesTraffic(found.labels, to)) return undefined;
  const hostname = hostnameOf(wanted.namespace, wanted.name);
  return create(GatewayAddressSchema, {
    destination: { case: 'hostname', value: { namespace: wanted.namespace, hostname } },
    hboneMtlsPort: HBONE_PORT,
  });
}

/** The port of a pod that a service port leads to, or undefined when the pod has none of that name. */
export function targetPortOf(
  port: ServicePort,
  portByName: (name: string) => number | undefined,
): number | undefined {
  const { targetPort } = port;
  switch (typeof targetPort) {
    case 'undefined':
      return port.port;
    case 'number':
      return targetPort;
    case 'string':
      return portByName(targetPort);
    default:
      return assertNever(targetPort, 'target port');
  }
}
