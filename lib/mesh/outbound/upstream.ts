import { hostPortText } from '../hbone/host-port.ts';
import { endpointAddress } from '../state/address-family.ts';
import { canonicalIp, ipScope } from '../state/ip.ts';
import type { Service, ServicePort, Workload } from '../state/model.ts';
import { chooseEndpoint } from '../state/load-balancer.ts';
import type { WorkloadStore } from '../state/workload-store.ts';
import { expectedIdentities, targetPortOf } from './endpoint.ts';
import { chooseWaypoint, isBehind, waypointsOf, type WaypointChoice } from './waypoint.ts';

/** Ports of the tunnel's own listeners inside a pod: a connection of a pod to itself there would loop (C3, F19). */
const RESERVED_PORTS: ReadonlySet<number> = new Set([15001, 15006, 15008, 15053, 15080]);

/** Why a connection is not made; `code` is stable, `reason` says what was asked for and what to check. */
export type RefusalCode =
  | 'source-unknown'
  | 'reserved-port'
  | 'bad-address'
  | 'waypoint-missing'
  | 'waypoint-unhealthy'
  | 'remote-network'
  | 'service-port-unknown'
  | 'no-healthy-upstream'
  | 'family-unreachable';

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
      /** To a waypoint, which decides where the connection ends. */
      readonly kind: 'waypoint';
      /** As the control plane names it, for reasons and logs. */
      readonly waypoint: string;
      /** The instance of it that was chosen; TLS goes to its `hbonePort`. */
      readonly workload: Workload;
      readonly address: string;
      readonly hbonePort: number;
      /** What the CONNECT names: the destination as the application dialled it. */
      readonly authority: Destination;
      readonly service?: Service;
      /** SPIFFE IDs of which the instance must present one. */
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

/** By what one of several is chosen. */
interface Chance {
  readonly random: () => number;
  readonly avoid: string | undefined;
}

/**
 * The outbound decision (ambient-facts C3). A waypoint that is not to be had refuses, and so do other networks until
 * they are built: going round a waypoint would skip its policy.
 *
 * @param source the pod's own workload; undefined (after the caller waited for it) refuses
 * @param random 0 ≤ x < 1, for load balancing
 * @param avoid uid of an instance of a waypoint that could not be connected: another one is chosen
 */
export function resolveUpstream(
  store: WorkloadStore,
  source: Workload | undefined,
  destination: Destination,
  random: () => number = Math.random,
  avoid?: string,
): Upstream {
  const ip = canonicalIp(destination.ip);
  const { port } = destination;
  const asked = hostPortText(destination);
  if (ip === undefined) return refuse('bad-address', `${asked} is no address`);
  if (!source) {
    return refuse(
      'source-unknown',
      'the pod is not known to the control plane yet: see the gate xds-workloads',
    );
  }
  if (RESERVED_PORTS.has(port) && (source.addresses.includes(ip) || ipScope(ip) === 'loopback')) {
    return refuse('reserved-port', `port ${port} of the pod itself belongs to the mesh`);
  }
  const found = store.byAddress(source.network, ip, source.namespace);
  if (!found) return { kind: 'passthrough', address: ip, targetPort: port };
  const chance = { random, avoid };
  return found.kind === 'service'
    ? toService(store, source, found, ip, port, chance)
    : toWorkload(store, source, { workload: found, address: ip, targetPort: port }, chance);
}

function toService(
  store: WorkloadStore,
  source: Workload,
  service: Service,
  ip: string,
  port: number,
  chance: Chance,
): Upstream {
  const gateways = waypointsOf(service);
  const waypointed = gateways.length > 0 && !gateways.some((w) => isBehind(store, w.gateway, source));
  const passthrough = service.loadBalancing.mode === 'passthrough';
  if (passthrough && !waypointed) {
    const workload = store.workloadAt(source.network, ip);
    return workload
      ? toWorkload(store, source, { workload, address: ip, targetPort: port, service }, chance)
      : { kind: 'passthrough', address: ip, targetPort: port };
  }
  const servicePort = service.ports.find((p) => p.servicePort === port);
  if (waypointed && (servicePort || passthrough)) {
    const choice = chooseWaypoint(store, source, gateways, ip, chance.random, chance.avoid);
    return toWaypoint(choice, { ip, port }, `service ${service.key}`, service);
  }
  if (!servicePort) {
    const known = service.ports.map((p) => p.servicePort).join(', ');
    return refuse(
      'service-port-unknown',
      `service ${service.key} has no port ${port}, only ${known || 'none'}`,
      service,
    );
  }
  return toEndpoint(store, source, service, ip, servicePort, chance);
}

function toWaypoint(
  choice: WaypointChoice,
  authority: Destination,
  what: string,
  service: Service | undefined,
): Upstream {
  if (choice.kind === 'none') {
    return refuse(choice.code, `${what} needs the waypoint ${choice.name}: ${choice.problem}`, service);
  }
  const { name, workload, address, hbonePort, expectedIdentities } = choice;
  return {
    kind: 'waypoint',
    waypoint: name,
    workload,
    address,
    hbonePort,
    authority,
    expectedIdentities,
    ...(service && { service }),
  };
}

function toEndpoint(
  store: WorkloadStore,
  source: Workload,
  service: Service,
  ip: string,
  servicePort: ServicePort,
  chance: Chance,
): Upstream {
  const candidates = [];
  let serving = 0;
  let onOtherNetworks = 0;
  const unreachable: string[] = [];
  for (const { workload, ports } of store.endpoints(service.key).values()) {
    const targetPort = targetPortOf(ports, servicePort);
    if (targetPort === undefined) continue;
    serving++;
    if (!workload.healthy && !service.loadBalancing.allowUnhealthy) continue;
    if (workload.network !== source.network) {
      onOtherNetworks++;
      continue;
    }
    const address = endpointAddress(workload, { families: service.ipFamilies, source, asked: ip });
    if (address !== undefined) candidates.push({ workload, address, targetPort });
    else unreachable.push(...workload.addresses);
  }
  const chosen = chooseEndpoint(candidates, source, service.loadBalancing, chance.random);
  if (chosen) return toWorkload(store, source, { ...chosen, service }, chance);
  if (onOtherNetworks > 0 && candidates.length === 0) {
    return refuse(
      'remote-network',
      `service ${service.key} has endpoints on other networks only, and this version cannot reach them`,
      service,
    );
  }
  if (unreachable.length > 0 && candidates.length === 0) {
    return refuse(
      'family-unreachable',
      `service ${service.key} (IP families: ${service.ipFamilies}) has no endpoint with an address of a family that this pod has: ${unreachable.slice(0, 4).join(', ')} from ${source.addresses.join(', ')}`,
      service,
    );
  }
  return refuse(
    'no-healthy-upstream',
    `no healthy upstream: service ${service.key} port ${servicePort.servicePort} has ${serving} endpoints, ${candidates.length} healthy with an address`,
    service,
  );
}

interface Target {
  readonly workload: Workload;
  readonly address: string;
  readonly targetPort: number;
  readonly service?: Service;
}

function toWorkload(store: WorkloadStore, source: Workload, target: Target, chance: Chance): Upstream {
  const { workload, service, address, targetPort } = target;
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
    const gateways = [{ gateway: workload.waypoint, weight: 1 }];
    const choice = chooseWaypoint(store, source, gateways, address, chance.random, chance.avoid);
    return toWaypoint(choice, { ip: address, port: targetPort }, `workload ${workload.uid}`, service);
  }
  if (workload.tunnelProtocol === 'hbone') {
    return { kind: 'hbone', ...target, expectedIdentities: expectedIdentities(store, workload, service) };
  }
  return { kind: 'direct', ...target };
}

function refuse(code: RefusalCode, reason: string, service?: Service): Upstream {
  return { kind: 'refused', code, reason, ...(service && { service }) };
}
