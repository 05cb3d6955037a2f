import type { Workload } from '../../lib/mesh/state/model.ts';
import { Protocol } from '../../proto/gen/loam/waypoint/v1/waypoint_pb.js';
import type { Endpoint } from '../resilience/endpoint.ts';
import type { EndpointPeer } from '../upstream/endpoint-peer.ts';
import type { UpstreamCluster } from '../upstream/upstream-cluster.ts';
import type { Engine } from './engine.ts';
import type { Exchange } from './exchange.ts';

/** What an endpoint is spoken to: what its Service says, else what the client speaks. */
export function upstreamProtocol(
  { config }: Engine,
  cluster: UpstreamCluster,
  exchange: Exchange,
): 'http1' | 'http2' {
  const port = config.service(cluster.service)?.ports.find((p) => p.port === cluster.port);
  // Only HTTP/1.1 has upgrades here.
  if (exchange.upgrade !== undefined) return 'http1';
  switch (port?.protocol ?? Protocol.DETECT) {
    case Protocol.HTTP1:
      return 'http1';
    case Protocol.HTTP2:
    case Protocol.GRPC:
      return 'http2';
    case Protocol.DETECT:
    case Protocol.TCP:
      return exchange.incoming.protocol === 'http1' ? 'http1' : 'http2';
  }
}

/** The one pod that the client dialled; undefined when it is not an endpoint of the Service. */
export function pinnedPeer(
  cluster: UpstreamCluster,
  pinned: { readonly workload: Workload; readonly port: number },
): { readonly endpoint: Endpoint; readonly peer: EndpointPeer } | undefined {
  const endpoint: Endpoint = {
    uid: pinned.workload.uid,
    address: pinned.workload.addresses[0] ?? '',
    port: pinned.port,
    weight: 1,
    rank: 0,
    healthy: true,
  };
  const peer = cluster.peer(endpoint);
  return peer && { endpoint, peer };
}
