import type { WorkloadStore } from '../../lib/mesh/state/workload-store.ts';
import type { Workload } from '../../lib/mesh/state/model.ts';
import { backendEndpoints, type BackendEndpoint } from '../../lib/mesh/waypoint/backend-endpoints.ts';
import { Cluster, type ClusterPolicy } from '../resilience/cluster.ts';
import { endpointKey, type Endpoint } from '../resilience/endpoint.ts';
import type { OutlierEvent } from '../resilience/outlier-detector.ts';
import { EndpointPeer, type PeerDependencies } from './endpoint-peer.ts';

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

  #resolve(): BackendEndpoint[] {
    const { workloads, network, ownService, self } = this.#context;
    const found = backendEndpoints({ workloads, network, ownService, self: self() }, this.service, this.port);
    this.#via = found.via;
    this.#viaUnknown = found.viaUnknown;
    return found.endpoints;
  }
}
