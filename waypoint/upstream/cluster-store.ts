import type { AddressDelta } from '../../lib/mesh/state/model.ts';
import type { ConfigStore } from '../../lib/mesh/waypoint/config-store.ts';
import { UpstreamCluster, type ClusterContext } from './upstream-cluster.ts';

/** The backends in use, by Service and port. */
export class ClusterStore {
  readonly #config: ConfigStore;
  readonly #context: ClusterContext;
  readonly #clusters = new Map<string, UpstreamCluster>();

  constructor(config: ConfigStore, context: ClusterContext) {
    this.#config = config;
    this.#context = context;
    context.workloads.onChange((delta) => this.#addressesChanged(delta));
    config.onChange((services) => this.#configChanged(services));
  }

  /** Ready for the next request. */
  get(service: string, port: number): UpstreamCluster {
    const key = `${port}|${service}`;
    let cluster = this.#clusters.get(key);
    if (cluster === undefined) {
      cluster = new UpstreamCluster(service, port, this.#context);
      this.#clusters.set(key, cluster);
      this.#configure(cluster);
    }
    cluster.refresh();
    return cluster;
  }

  all(): Iterable<UpstreamCluster> {
    return this.#clusters.values();
  }

  #configure(cluster: UpstreamCluster): void {
    const name = this.#config.service(cluster.service)?.trafficPolicy ?? '';
    const policy = name === '' ? undefined : this.#config.trafficPolicy(name);
    cluster.configure(policy, policy?.timeouts?.connect ?? 0);
  }

  #configChanged(services: ReadonlySet<string>): void {
    for (const [key, cluster] of this.#clusters) {
      if (!services.has(cluster.service)) continue;
      if (this.#config.service(cluster.service) === undefined) {
        this.#clusters.delete(key);
        cluster.retire();
      } else this.#configure(cluster);
    }
  }

  #addressesChanged({ upserts, removed }: AddressDelta): void {
    const services = new Set<string>();
    const uids = new Set(removed);
    for (const resource of upserts) {
      if (resource.kind === 'service') services.add(resource.key);
      else {
        uids.add(resource.uid);
        for (const { service } of resource.services) services.add(service);
      }
    }
    for (const cluster of this.#clusters.values()) {
      if (cluster.dependsOn(services) || uids.has(cluster.service) || cluster.knowsAnyOf(uids))
        cluster.invalidate();
    }
  }
}
