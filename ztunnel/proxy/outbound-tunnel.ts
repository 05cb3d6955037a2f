import type { Duplex } from 'node:stream';
import {
  baggageHeader,
  forwardedHeader,
  hostPortText,
  newTraceparent,
  type HostPort,
} from '../../lib/mesh/hbone/hbone-headers.ts';
import { ProxyError, toProxyError, type ProxyErrorCode } from '../../lib/mesh/hbone/proxy-error.ts';
import { isIpv6 } from '../../lib/mesh/state/ip.ts';
import type { Workload } from '../../lib/mesh/state/model.ts';
import { resolveUpstream } from '../../lib/mesh/outbound/upstream.ts';
import {
  describeUpstream,
  tunnelEnds,
  type Outbound,
  type Tunnelled,
  type Waypointed,
} from './outbound-flow.ts';

/** Reasons for which another instance of a waypoint may do better: this one was not reached, and nothing was sent. */
const INSTANCE_FAILURES: ReadonlySet<ProxyErrorCode> = new Set([
  'CONNECT_FAILED',
  'MAYBE_NETWORK_POLICY',
  'TLS_FAILURE',
  'H2_FAILURE',
  'STREAM_REFUSED',
  'POD_GONE',
]);

/**
 * Connects to the instance of a waypoint that was chosen; when that cannot be reached, to another one, once.
 *
 * @throws ProxyError WAYPOINT_UNAVAILABLE when none could be reached; else what the waypoint's answer says
 */
export async function connectWaypoint(
  outbound: Outbound,
  destination: HostPort,
  first: Waypointed,
): Promise<Duplex> {
  const { pod, own, connection } = outbound;
  try {
    connection.opened();
    return await connectTunnel(outbound, first);
  } catch (error) {
    if (!isInstanceFailure(error)) throw throughWaypoint(first, error);
    connection.throwIfTerminated();
    const { uid } = first.workload;
    const second = resolveUpstream(pod.mesh.workloads, own, destination, Math.random, uid);
    if (second.kind !== 'waypoint' || second.workload.uid === uid) throw throughWaypoint(first, error);
    describeUpstream(connection, pod, second);
    try {
      return await connectTunnel(outbound, second);
    } catch (again) {
      throw throughWaypoint(second, again);
    }
  }
}

/** A peer that answered was reached, whatever it said. */
function isInstanceFailure(error: unknown): boolean {
  return error instanceof ProxyError && error.status === undefined && INSTANCE_FAILURES.has(error.code);
}

function throughWaypoint({ waypoint, workload }: Waypointed, cause: unknown): ProxyError {
  const { code, policy, status } = toProxyError(cause);
  return new ProxyError(
    isInstanceFailure(cause) ? 'WAYPOINT_UNAVAILABLE' : code,
    `through waypoint ${waypoint}, instance ${workload.uid}`,
    { cause, ...(policy !== undefined && { policy }), ...(status !== undefined && { status }) },
  );
}

/**
 * The application's address as the other end can take it for its word: the tunnel comes from the pod's address of the
 * peer's family, and a header that names another address counts for nothing there.
 */
function clientTowards(own: Workload, client: HostPort, peer: HostPort): HostPort {
  if (isIpv6(client.ip) === isIpv6(peer.ip)) return client;
  const ip = own.addresses.find((each) => isIpv6(each) === isIpv6(peer.ip));
  return ip === undefined ? client : { ip, port: client.port };
}

/** Opens a tunnelled stream, on a pooled connection where there is one. @throws ProxyError */
export function connectTunnel(outbound: Outbound, upstream: Tunnelled): Promise<Duplex> {
  const { pod, own, connection, client } = outbound;
  const { peer, authority } = tunnelEnds(upstream);
  const trace = (connection.trace ??= newTraceparent());
  return pod.mesh.pool.open(
    {
      sourcePodUid: pod.info.uid,
      sourceIdentity: pod.identityUri,
      destinationUid: upstream.workload.uid,
      address: peer,
      expectedIdentities: upstream.expectedIdentities,
    },
    {
      sockets: pod.sockets,
      certificate: () => pod.mesh.certificates.whenValid(pod.identityUri, pod.mesh.limits.stateWaitMs),
    },
    {
      ':authority': hostPortText(authority),
      baggage: baggageHeader(own),
      forwarded: forwardedHeader(clientTowards(own, client, peer), upstream.service?.hostname),
      traceparent: trace,
    },
  );
}
