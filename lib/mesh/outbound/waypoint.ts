import { spiffeUri } from '../../spiffe.ts';
import { endpointAddress } from '../state/address-family.ts';
import { chooseEndpoint } from '../state/load-balancer.ts';
import type { GatewayAddress, Service, Workload } from '../state/model.ts';
import type { WorkloadStore } from '../state/workload-store.ts';
import { expectedIdentities, targetPortOf } from './endpoint.ts';

/** Where a waypoint accepts HBONE when its address names no port (ambient-facts C1). */
const DEFAULT_HBONE_PORT = 15008;

/** One instance of a waypoint, chosen for one connection; or why there is none. */
export type WaypointChoice =
  | {
      readonly kind: 'chosen';
      /** `namespace/hostname` of its Service, or its address. */
      readonly name: string;
      readonly workload: Workload;
      readonly address: string;
      readonly hbonePort: number;
      /** SPIFFE IDs of which the instance must present one. */
      readonly expectedIdentities: readonly string[];
    }
  | {
      readonly kind: 'none';
      readonly code: 'waypoint-missing' | 'waypoint-unhealthy' | 'remote-network';
      readonly name: string;
      /** What is wrong with it and what to check. */
      readonly problem: string;
    };

/** The waypoints that may stand before a service: the weighted ones replace the single one. None: it has no waypoint. */
export function waypointsOf(service: Service): readonly WeightedGateway[] {
  if (service.weightedWaypoints.length > 0) return service.weightedWaypoints;
  return service.waypoint === undefined ? [] : [{ gateway: service.waypoint, weight: 1 }];
}

interface WeightedGateway {
  readonly gateway: GatewayAddress;
  readonly weight: number;
}

/**
 * Chooses a waypoint by weight, then one of its healthy instances as for a service of its own (ambient-facts C3).
 *
 * @param gateways at least one
 * @param family an address of the family that is preferred for the instance's
 * @param random 0 ≤ x < 1, asked once for the weights and once for the instance
 * @param avoid uid of an instance that could not be connected
 */
export function chooseWaypoint(
  store: WorkloadStore,
  source: Workload,
  gateways: readonly WeightedGateway[],
  family: string,
  random: () => number,
  avoid?: string,
): WaypointChoice {
  const gateway = sample(gateways, random);
  const [first] = gateways;
  if (gateway === undefined) {
    const name = first === undefined ? '' : gatewayName(store, first.gateway);
    return none('waypoint-missing', name, 'every waypoint of it has weight 0: give one of them weight');
  }
  const name = gatewayName(store, gateway);
  const found = instancesOf(store, gateway);
  if (found === undefined) {
    return none(
      'waypoint-missing',
      name,
      'the control plane knows no such waypoint: check that its Gateway exists and is programmed, and the label loam.dev/use-waypoint',
    );
  }
  const { service, workloads } = found;
  const wantedPort = gateway.hboneMtlsPort || DEFAULT_HBONE_PORT;
  const servicePort = service?.ports.find((p) => p.servicePort === wantedPort);
  const candidates = [];
  let healthy = 0;
  for (const { workload, ports } of workloads) {
    if (!workload.healthy && service?.loadBalancing.allowUnhealthy !== true) continue;
    healthy++;
    if (workload.network !== source.network || workload.uid === avoid) continue;
    const families = service?.ipFamilies ?? 'automatic';
    const address = endpointAddress(workload, { families, source, asked: family });
    if (address === undefined) continue;
    const hbonePort = (servicePort && targetPortOf(ports, servicePort)) ?? wantedPort;
    candidates.push({ workload, address, hbonePort });
  }
  const chosen = chooseEndpoint(candidates, source, service?.loadBalancing ?? ANY_INSTANCE, random);
  if (chosen) {
    const identities = expectedIdentities(store, chosen.workload, service);
    return { kind: 'chosen', name, ...chosen, expectedIdentities: identities };
  }
  if (workloads.length === 0)
    return none('waypoint-unhealthy', name, 'it has no instance: check that its pods run');
  if (healthy > 0 && workloads.every(({ workload }) => workload.network !== source.network)) {
    return none(
      'remote-network',
      name,
      'its instances are on other networks, and this version cannot reach them',
    );
  }
  return none(
    'waypoint-unhealthy',
    name,
    `of its ${workloads.length} instances ${healthy} are healthy and none can take the connection: check its pods and their logs`,
  );
}

/** Whether the source is that waypoint itself: what it sends on must not come back to it. */
export function isBehind(store: WorkloadStore, gateway: GatewayAddress, source: Workload): boolean {
  if (gateway.by === 'hostname') return store.endpoints(gateway.service).has(source.uid);
  const { network, ip } = gateway.address;
  if (network === source.network && source.addresses.includes(ip)) return true;
  const service = store.serviceAtExactly(network, ip);
  return service !== undefined && store.endpoints(service.key).has(source.uid);
}

/**
 * The name of the waypoint that has this identity and stands before this workload: its own one, or that of a service
 * to which it belongs. Undefined for every other peer, whatever else it may be a waypoint of.
 *
 * @param peer SPIFFE ID that the peer's certificate proved
 */
export function servingWaypoint(store: WorkloadStore, workload: Workload, peer: string): string | undefined {
  const gateways = workload.waypoint === undefined ? [] : [workload.waypoint];
  for (const { service: key } of workload.services) {
    const service = store.service(key);
    if (service) gateways.push(...waypointsOf(service).map((w) => w.gateway));
  }
  const serving = gateways.find((gateway) =>
    instancesOf(store, gateway)?.workloads.some((e) => spiffeUri(e.workload.identity) === peer),
  );
  return serving && gatewayName(store, serving);
}

/** How reasons and logs call a waypoint: by its Service's key, where it has one. */
function gatewayName(store: WorkloadStore, gateway: GatewayAddress): string {
  if (gateway.by === 'hostname') return gateway.service;
  const { network, ip } = gateway.address;
  return store.serviceAtExactly(network, ip)?.key ?? ip;
}

const ANY_INSTANCE = { mode: 'unspecified', routingPreference: [] } as const;

interface Instances {
  /** Undefined where the address is a workload's own. */
  readonly service: Service | undefined;
  readonly workloads: readonly {
    readonly workload: Workload;
    readonly ports: Workload['services'][number]['ports'];
  }[];
}

function instancesOf(store: WorkloadStore, gateway: GatewayAddress): Instances | undefined {
  const service =
    gateway.by === 'hostname'
      ? store.service(gateway.service)
      : store.serviceAtExactly(gateway.address.network, gateway.address.ip);
  if (service) return { service, workloads: [...store.endpoints(service.key).values()] };
  const workload =
    gateway.by === 'address' ? store.workloadAt(gateway.address.network, gateway.address.ip) : undefined;
  return workload && { service: undefined, workloads: [{ workload, ports: [] }] };
}

function sample(gateways: readonly WeightedGateway[], random: () => number): GatewayAddress | undefined {
  const usable = gateways.filter((w) => w.weight > 0);
  let at = random() * usable.reduce((sum, w) => sum + w.weight, 0);
  for (const { gateway, weight } of usable) {
    at -= weight;
    if (at < 0) return gateway;
  }
  // Rounding can leave a hair over.
  return usable.at(-1)?.gateway;
}

function none(
  code: Extract<WaypointChoice, { kind: 'none' }>['code'],
  name: string,
  problem: string,
): WaypointChoice {
  return { kind: 'none', code, name, problem };
}
