import type { Endpoint as MeshEndpoint, WorkloadStore } from '../../lib/mesh/state/workload-store.ts';
import { endpointAddress } from '../../lib/mesh/state/address-family.ts';
import { localityRank } from '../../lib/mesh/state/load-balancer.ts';
import type { GatewayAddress, Service, Workload } from '../../lib/mesh/state/model.ts';
import { spiffeUri } from '../../lib/spiffe.ts';
import { Cluster, type ClusterPolicy } from '../resilience/cluster.ts';
import { endpointKey, type Endpoint } from '../resilience/endpoint.ts';
import type { OutlierEvent } from '../resilience/outlier-detector.ts';
import { EndpointPeer, type PeerDependencies } from './endpoint-peer.ts';
import type { Path } from './endpoint-connector.ts';

const HBONE_PORT = 15008;

export interface ClusterContext extends PeerDependencies {
  readonly workloads: WorkloadStore;
  readonly network: string;
  /** Key of this waypoint's own Service: what is behind another waypoint is reached through that one. */
  readonly ownService: string;
  /** This waypoint as a workload, for locality; undefined until it is known. */
  readonly self: () => Workload | undefined;
  readonly onOutlier: (service: string, event: OutlierEvent) => void;
}

/** The endpoints of one Service and port, with the connections to them. */
export class UpstreamCluster {
  readonly service: string;
  readonly port: number;
  readonly cluster: Cluster;
  readonly #context: ClusterContext;
  readonly #peers = new Map<string, EndpointPeer>();
  #policy: ClusterPolicy | undefined;
  #connectTimeoutMs = 0;
  #stale = true;
  /** The Service of another waypoint that stands before it. */
  #via: string | undefined;
  /** Only its address is known, and no Service that has it: any that comes may be it. */
  #viaUnknown = false;

  constructor(service: string, port: number, context: ClusterContext) {
    this.service = service;
    this.port = port;
    this.#context = context;
    this.cluster = new Cluster({ onEvent: (event) => context.onOutlier(service, event) });
  }

  /** Endpoints or the Service changed: they are looked at again before the next request. */
  invalidate(): void {
    this.#stale = true;
  }

  /** @param connectTimeoutMs 0: the default */
  configure(policy: ClusterPolicy | undefined, connectTimeoutMs: number): void {
    if (this.#policy === policy && this.#connectTimeoutMs === connectTimeoutMs) return;
    this.#policy = policy;
    this.#connectTimeoutMs = connectTimeoutMs;
    this.#stale = true;
  }

  get policy(): ClusterPolicy | undefined {
    return this.#policy;
  }

  /** The Service's host name, for logs of both ends. */
  get hostname(): string {
    return this.service.slice(this.service.indexOf('/') + 1);
  }

  /** Up to date with what the control plane told. */
  refresh(): void {
    if (!this.#stale) return;
    this.#stale = false;
    const found = this.#resolve();
    const kept = new Set<string>();
    for (const { endpoint, path, workload } of found) {
      const key = endpointKey(endpoint);
      kept.add(key);
      const known = this.#peers.get(key);
      if (known?.isSame(path) === true) known.update(workload, this.#connectTimeoutMs);
      else {
        known?.retire();
        this.#peers.set(
          key,
          new EndpointPeer(this.#context, {
            path,
            workload,
            circuit: this.cluster.circuit,
            service: this.hostname,
            connectTimeoutMs: this.#connectTimeoutMs,
            siblings: () => this.#peers.values(),
          }),
        );
      }
    }
    for (const [key, peer] of this.#peers) {
      if (kept.has(key)) continue;
      peer.retire();
      this.#peers.delete(key);
    }
    this.cluster.update(
      found.map(({ endpoint }) => endpoint),
      this.#policy,
    );
  }

  /** Whether a change of one of these Services concerns it. */
  dependsOn(services: ReadonlySet<string>): boolean {
    if (this.#viaUnknown && services.size > 0) return true;
    return services.has(this.service) || (this.#via !== undefined && services.has(this.#via));
  }

  /** Whether one of these workloads is an endpoint of it, or stands in the way to it. */
  knowsAnyOf(uids: ReadonlySet<string>): boolean {
    for (const { workload } of this.#peers.values()) if (uids.has(workload.uid)) return true;
    return false;
  }

  peer(endpoint: Endpoint): EndpointPeer | undefined {
    return this.#peers.get(endpointKey(endpoint));
  }

  get peers(): Iterable<EndpointPeer> {
    return this.#peers.values();
  }

  /** The backend is gone: its connections close with their last request. */
  retire(): void {
    for (const peer of this.#peers.values()) peer.retire();
    this.#peers.clear();
    this.cluster.circuit.pending.close();
  }

  #resolve(): Resolved[] {
    const { workloads, network, self } = this.#context;
    const service = workloads.service(this.service);
    this.#via = undefined;
    this.#viaUnknown = false;
    if (service === undefined) return [];
    const other = this.#otherWaypoint(service);
    if (other !== undefined) return this.#behindWaypoint(service, other);
    const servicePort = service.ports.find((p) => p.servicePort === this.port);
    if (servicePort === undefined) return [];
    const own = self();
    const { mode, routingPreference, allowUnhealthy } = service.loadBalancing;
    const scopes = mode === 'strict' || mode === 'failover' ? routingPreference : [];
    const found: Resolved[] = [];
    for (const { workload, ports } of workloads.endpoints(this.service).values()) {
      if (workload.network !== network) continue;
      const target = ports.find((p) => p.servicePort === this.port && p.targetPort !== 0)?.targetPort;
      const port = target ?? (servicePort.targetPort || undefined);
      const address = endpointAddress(workload, { families: service.ipFamilies, source: own });
      if (port === undefined || address === undefined) continue;
      const shared = own === undefined ? scopes.length : localityRank(workload, own, scopes);
      if (mode === 'strict' && shared < scopes.length) continue;
      found.push({
        workload,
        path: pathTo(workload, address, port, this.#identities(workload, service)),
        endpoint: {
          uid: workload.uid,
          address,
          port,
          weight: workload.capacity,
          rank: scopes.length - shared,
          healthy: workload.healthy || allowUnhealthy,
        },
      });
    }
    return found;
  }

  #identities(workload: Workload, service: Service): string[] {
    return [
      spiffeUri(workload.identity),
      ...service.subjectAltNames.filter((s) => s.startsWith('spiffe://')),
    ];
  }

  #otherWaypoint(service: Service): GatewayAddress | undefined {
    const { waypoint } = service;
    if (waypoint === undefined) return undefined;
    const { ownService, workloads, network } = this.#context;
    const key =
      waypoint.by === 'hostname'
        ? waypoint.service
        : workloads.serviceAtExactly(network, waypoint.address.ip)?.key;
    return key === ownService ? undefined : waypoint;
  }

  /** Another waypoint stands before that Service: its instances are the endpoints, and it chooses the pod. */
  #behindWaypoint(service: Service, waypoint: GatewayAddress): Resolved[] {
    const { workloads, network } = this.#context;
    const key =
      waypoint.by === 'hostname'
        ? waypoint.service
        : workloads.serviceAtExactly(network, waypoint.address.ip)?.key;
    this.#via = key;
    this.#viaUnknown = key === undefined;
    // The service's primary address: what the other waypoint makes of it does not depend on its family.
    const vip = service.addresses.find((a) => a.network === network && a.range === undefined)?.ip;
    const families = (key === undefined ? undefined : workloads.service(key)?.ipFamilies) ?? 'automatic';
    const source = this.#context.self();
    if (key === undefined || vip === undefined) return [];
    const instances: MeshEndpoint[] = [...workloads.endpoints(key).values()];
    return instances.flatMap(({ workload }) => {
      const address = endpointAddress(workload, { families, source });
      if (address === undefined || workload.network !== network) return [];
      return [
        {
          workload,
          path: {
            via: 'hbone' as const,
            tunnel: { ip: address, port: waypoint.hboneMtlsPort || HBONE_PORT },
            tunnelUid: workload.uid,
            expectedIdentities: [spiffeUri(workload.identity)],
            target: { ip: vip, port: this.port },
          },
          endpoint: {
            uid: workload.uid,
            address,
            port: this.port,
            weight: workload.capacity,
            rank: 0,
            healthy: workload.healthy,
          },
        },
      ];
    });
  }
}

interface Resolved {
  readonly endpoint: Endpoint;
  readonly workload: Workload;
  readonly path: Path;
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
