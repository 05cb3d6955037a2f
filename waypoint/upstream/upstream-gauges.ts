import type { RuntimeMetrics } from '../telemetry/runtime-metrics.ts';
import type { UpstreamCluster } from './upstream-cluster.ts';

/** Shows how it stands with the endpoints of all Services that have had requests; the ports of a Service are added up. */
export function showUpstreams(
  runtime: Pick<RuntimeMetrics, 'show'>,
  clusters: Iterable<Pick<UpstreamCluster, 'service' | 'cluster'>>,
): void {
  const [connections, pending, ejected] = [newSums(), newSums(), newSums()];
  const add = (to: Map<string, number>, service: string, by: number): void =>
    void to.set(service, (to.get(service) ?? 0) + by);
  for (const { service, cluster } of clusters) {
    const stats = cluster.circuit.stats();
    add(connections, service, stats.connections);
    add(pending, service, stats.pending);
    add(ejected, service, cluster.health().ejected);
  }
  runtime.show('upstreamConnections', connections);
  runtime.show('pendingRequests', pending);
  runtime.show('ejectedEndpoints', ejected);
}

const newSums = (): Map<string, number> => new Map();
