import { parseSpiffeUri, spiffeUri } from '../../lib/spiffe.ts';
import { isIPv6 } from 'node:net';
import { canonicalIp } from '../../lib/mesh/state/ip.ts';
import type { GatewayAddress, Service, ServicePort, Workload } from '../../lib/mesh/state/model.ts';
import { chooseEndpoint } from '../../lib/mesh/state/load-balancer.ts';
import type { WorkloadStore } from '../../lib/mesh/state/workload-store.ts';

/** Ports of the tunnel's own listeners inside a pod: a connection of a pod to itself there would loop (C3, F19). */
const RESERVED_PORTS: ReadonlySet<number> = new Set([15001, 15006, 15008, 15053, 15080]);

/** Why a connection is not made; `code` is stable, `reason` says what was asked for and what to check. */
export type RefusalCode =
  | 'source-unknown'
  | 'reserved-port'
  | 'bad-address'
  | 'service-waypoint'
  | 'workload-waypoint'
  | 'remote-network'
  | 'service-port-unknown'
  | 'no-healthy-upstream';

/** Where an outbound connection goes. */
export type Upstream =
  | {
      readonly kind: 'hbone';
      readonly workload: Workload;
      /** Of the workload; TLS goes to its port 15008, the CONNECT names `address:targetPort`. */
      readonly address: string;
      readonly targetPort: number;
      readonly service?: Service;
      /** SPIFFE IDs of which the peer must present one. */
      readonly expectedIdentities: readonly string[];
    }
  | {
      readonly kind: 'direct';
      readonly workload: Workload;
      readonly address: string;
      readonly targetPort: number;
      readonly service?: Service;
    }
  | { readonly kind: 'passthrough'; readonly address: string; readonly targetPort: number }
  | {
      readonly kind: 'refused';
      readonly code: RefusalCode;
      readonly reason: string;
      readonly service?: Service;
    };

export interface Destination {
  readonly ip: string;
  readonly port: number;
}

/**
 * The outbound decision (ambient-facts C3). Waypoints and other networks are refused by name until they are built:
 * going round a waypoint would skip its policy.
 *
 * @param source the pod's own workload; undefined (after the caller waited for it) refuses
 * @param random 0 ≤ x < 1, for load balancing
 */
export function resolveUpstream(
  store: WorkloadStore,
  source: Workload | undefined,
  destination: Destination,
  random: () => number = Math.random,
): Upstream {
  const ip = canonicalIp(destination.ip);
  const { port } = destination;
  const asked = `${destination.ip}:${port}`;
  if (ip === undefined) return refuse('bad-address', `${asked} is no address`);
  if (!source) {
    return refuse(
      'source-unknown',
      'the pod is not known to the control plane yet: see the gate xds-workloads',
    );
  }
  if (RESERVED_PORTS.has(port) && (source.addresses.includes(ip) || isLoopback(ip))) {
    return refuse('reserved-port', `port ${port} of the pod itself belongs to the mesh`);
  }
  const found = store.byAddress(source.network, ip, source.namespace);
  if (!found) return { kind: 'passthrough', address: ip, targetPort: port };
  return found.kind === 'service'
    ? toService(store, source, found, ip, port, random)
    : toWorkload(store, source, { workload: found, address: ip, targetPort: port });
}

function toService(
  store: WorkloadStore,
  source: Workload,
  service: Service,
  ip: string,
  port: number,
  random: () => number,
): Upstream {
  const waypoints = [service.waypoint, ...service.weightedWaypoints.map((w) => w.gateway)].filter((w) => !!w);
  const [waypoint] = waypoints;
  if (waypoint && !waypoints.some((w) => isBehind(store, w, source))) {
    return refuse(
      'service-waypoint',
      `service ${service.key} needs the waypoint ${gatewayName(waypoint)}, and this version cannot reach waypoints`,
      service,
    );
  }
  if (service.loadBalancing.mode === 'passthrough') {
    const workload = store.workloadAt(source.network, ip);
    return workload
      ? toWorkload(store, source, { workload, address: ip, targetPort: port, service })
      : { kind: 'passthrough', address: ip, targetPort: port };
  }
  const servicePort = service.ports.find((p) => p.servicePort === port);
  if (!servicePort) {
    const known = service.ports.map((p) => p.servicePort).join(', ');
    return refuse(
      'service-port-unknown',
      `service ${service.key} has no port ${port}, only ${known || 'none'}`,
      service,
    );
  }
  const candidates = [];
  let serving = 0;
  let onOtherNetworks = 0;
  for (const { workload, ports } of store.endpoints(service.key).values()) {
    const targetPort = targetPortOf(ports, servicePort);
    if (targetPort === undefined) continue;
    serving++;
    if (!workload.healthy && !service.loadBalancing.allowUnhealthy) continue;
    if (workload.network !== source.network) {
      onOtherNetworks++;
      continue;
    }
    const address = addressOfFamily(workload, ip);
    if (address !== undefined) candidates.push({ workload, address, targetPort });
  }
  const chosen = chooseEndpoint(candidates, source, service.loadBalancing, random);
  if (chosen) return toWorkload(store, source, { ...chosen, service });
  if (onOtherNetworks > 0 && candidates.length === 0) {
    return refuse(
      'remote-network',
      `service ${service.key} has endpoints on other networks only, and this version cannot reach them`,
      service,
    );
  }
  return refuse(
    'no-healthy-upstream',
    `no healthy upstream: service ${service.key} port ${port} has ${serving} endpoints, ${candidates.length} healthy with an address`,
    service,
  );
}

interface Target {
  readonly workload: Workload;
  readonly address: string;
  readonly targetPort: number;
  readonly service?: Service;
}

function toWorkload(store: WorkloadStore, source: Workload, target: Target): Upstream {
  const { workload, service } = target;
  if (workload.network !== source.network) {
    return refuse(
      'remote-network',
      `workload ${workload.uid} is on network ${JSON.stringify(workload.network)}, and this version cannot reach other networks`,
      service,
    );
  }
  // A service that is addressed by its VIP and has no waypoint of its own is not sent to its workloads' waypoint.
  if (
    (!service || service.loadBalancing.mode === 'passthrough') &&
    workload.waypoint &&
    !isBehind(store, workload.waypoint, source)
  ) {
    return refuse(
      'workload-waypoint',
      `workload ${workload.uid} needs the waypoint ${gatewayName(workload.waypoint)}, and this version cannot reach waypoints`,
    );
  }
  if (workload.tunnelProtocol === 'hbone') {
    return { kind: 'hbone', ...target, expectedIdentities: expectedIdentities(store, target) };
  }
  return { kind: 'direct', ...target };
}

/** The endpoint's own port for this service port, else the service's; undefined when neither says one. */
function targetPortOf(ports: readonly ServicePort[], servicePort: ServicePort): number | undefined {
  const own = ports.find((p) => p.servicePort === servicePort.servicePort && p.targetPort !== 0);
  return own?.targetPort ?? (servicePort.targetPort || undefined);
}

function addressOfFamily(workload: Workload, ip: string): string | undefined {
  const v6 = isIPv6(ip);
  return workload.addresses.find((a) => isIPv6(a) === v6) ?? workload.addresses[0];
}

function expectedIdentities(store: WorkloadStore, { workload, service }: Target): string[] {
  const services = service ? [service] : workload.services.map((m) => store.service(m.service));
  const expected = new Set([spiffeUri(workload.identity)]);
  for (const san of services.flatMap((s) => s?.subjectAltNames ?? [])) if (isSpiffe(san)) expected.add(san);
  return [...expected];
}

function isSpiffe(san: string): boolean {
  try {
    parseSpiffeUri(san);
    return true;
  } catch {
    return false;
  }
}

/** Whether the source is that waypoint itself: what it sends on must not come back to it. */
function isBehind(store: WorkloadStore, gateway: GatewayAddress, source: Workload): boolean {
  if (gateway.by === 'hostname') return store.endpoints(gateway.service).has(source.uid);
  const { network, ip } = gateway.address;
  if (network === source.network && source.addresses.includes(ip)) return true;
  const service = store.serviceAtExactly(network, ip);
  return service !== undefined && store.endpoints(service.key).has(source.uid);
}

function gatewayName(gateway: GatewayAddress): string {
  return gateway.by === 'hostname' ? gateway.service : gateway.address.ip;
}

function isLoopback(ip: string): boolean {
  return ip === '::1' || ip.startsWith('127.');
}

function refuse(code: RefusalCode, reason: string, service?: Service): Upstream {
  return { kind: 'refused', code, reason, ...(service && { service }) };
}
