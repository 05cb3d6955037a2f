import type { IncomingHttpHeaders } from 'node:http2';
import { trueClient } from '../../lib/mesh/hbone/hbone-headers.ts';
import type { Peer } from '../../lib/mesh/hbone/hbone-acceptor.ts';
import type { WorkloadStore } from '../../lib/mesh/state/workload-store.ts';
import { spiffeUri } from '../../lib/spiffe.ts';
import type { Source } from '../../lib/mesh/waypoint/request.ts';

/**
 * Who a CONNECT comes from: the peer's proven identity, and the address of its pod, since its ztunnel dials from inside
 * it. `forwarded` refines the port and nothing else: whom a request may speak for is for certificates to say.
 */
export function sourceOf(
  peer: Peer,
  headers: IncomingHttpHeaders,
  workloads: WorkloadStore,
  network: string,
): Source {
  const { ip, port } = trueClient(peer.address, headers['forwarded']);
  const found = workloads.workloadAt(network, ip);
  const workload =
    found !== undefined && spiffeUri(found.identity) === spiffeUri(peer.identity) ? found : undefined;
  return { ip, port, identity: peer.identity, workload };
}
