import type { Socket } from 'node:net';
import { sameIdentity, spiffeUri, type Identity } from '../../lib/spiffe.ts';
import type { Service, Workload } from '../../lib/mesh/state/model.ts';
import type { Flow } from '../telemetry/flow-labels.ts';
import { parseForwardedClient } from '../../lib/mesh/hbone/forwarded.ts';
import type { HostPort } from '../../lib/mesh/hbone/host-port.ts';
import type { Peer } from '../../lib/mesh/hbone/hbone-acceptor.ts';
import { isIpv6 } from '../../lib/mesh/state/ip.ts';
import { trueClient } from '../../lib/mesh/hbone/hbone-headers.ts';
import { servingWaypoint } from '../../lib/mesh/outbound/waypoint.ts';
import { whenConnected } from '../../lib/mesh/hbone/dialer.ts';
import type { Pod } from './pod.ts';
import { TrackedConnection } from './tracked-connection.ts';

const APPLICATION_CONNECT_TIMEOUT_MS = 10_000;

/** Who comes in, and for what. */
export interface InboundRequest {
  /** The client's true address, as policy compares it and, where its family admits it, the application sees it. */
  readonly client: HostPort;
  /** The pod's own address and port that the client wants. */
  readonly target: HostPort;
  /** Proven by the peer's certificate; undefined for plaintext. */
  readonly identity: Identity | undefined;
  /** Set when the peer is a waypoint of this pod's, and told for whom it comes. */
  readonly told?: Told;
}

/** What a waypoint told. */
interface Told {
  /** The waypoint's name. */
  readonly waypoint: string;
  /** Of the client; undefined when the waypoint did not say it. */
  readonly identity: Identity | undefined;
}

/**
 * Reads who comes through a tunnel. Only what a waypoint that stands before this pod says of its client is believed
 * (decision 0084); any other peer is its own client, and its header refines the port at most.
 */
export function readRequest(pod: Pod, peer: Peer, target: HostPort, forwarded: unknown): InboundRequest {
  const { address, identity } = peer;
  const claim = parseForwardedClient(forwarded);
  const workload = claim && pod.workload();
  const waypoint = workload && servingWaypoint(pod.mesh.workloads, workload, spiffeUri(identity));
  if (claim !== undefined && waypoint !== undefined) {
    return {
      client: claim.client,
      target,
      identity,
      told: { waypoint, identity: claim.identity },
    };
  }
  return { client: trueClient(address, forwarded), target, identity };
}

/** Registers an inbound connection, before anything is decided about it. */
export function beginInbound(pod: Pod, request: InboundRequest): TrackedConnection {
  const connection = new TrackedConnection(pod.mesh, {
    podUid: pod.info.uid,
    direction: 'inbound',
    source: request.client,
    destination: request.target,
  });
  connection.flow = inboundFlow(pod, request);
  return connection;
}

/** All that is known now of both ends; to be asked again after a wait. */
export function inboundFlow(pod: Pod, request: InboundRequest): Flow {
  const { identity, told } = request;
  const client = told ? told.identity : identity;
  const workload = pod.workload();
  return {
    reporter: 'destination',
    source: sourceWorkload(pod, workload, request.client.ip, client),
    sourceIdentity: client && spiffeUri(client),
    destination: workload,
    destinationIdentity: identity && pod.identityUri,
    service: workload && servedAs(pod, workload, request.target.port),
    mutualTls: identity !== undefined,
    ...(told && { via: told.waypoint, viaIdentity: identity && spiffeUri(identity) }),
  };
}

/**
 * Connects to the pod's application from inside the pod.
 *
 * @throws ProxyError CONNECT_FAILED, CONNECT_TIMEOUT; SystemCallError when the socket cannot be made
 */
export async function connectApplication(pod: Pod, request: InboundRequest): Promise<Socket> {
  const socket = pod.sockets.dialApplication(request.target, shownClient(pod, request));
  await whenConnected(socket, APPLICATION_CONNECT_TIMEOUT_MS, request.target);
  socket.setNoDelay(true);
  return socket;
}

/**
 * Whom the application sees as its client. An IPv4 socket cannot show an IPv6 address: there it is the client's own IPv4
 * address where the mesh knows it; else what stands for such a client (decision 0092).
 */
function shownClient(pod: Pod, { client, target, identity, told }: InboundRequest): HostPort {
  if (!isIpv6(client.ip) || isIpv6(target.ip)) return client;
  const workload = sourceWorkload(pod, pod.workload(), client.ip, told ? told.identity : identity);
  const ip = workload?.addresses.find((each) => !isIpv6(each));
  return ip === undefined ? client : { ip, port: client.port };
}

/** The workload at the client's address; where an identity is known, only if it is that identity's. */
function sourceWorkload(
  pod: Pod,
  own: Workload | undefined,
  ip: string,
  identity: Identity | undefined,
): Workload | undefined {
  const found = pod.mesh.workloads.workloadAt(own?.network ?? '', ip);
  if (found === undefined || identity === undefined) return found;
  return sameIdentity(found.identity, identity) ? found : undefined;
}

/** The service of which this port of the pod is an endpoint, when it is of one only. */
function servedAs(pod: Pod, own: Workload, port: number): Service | undefined {
  const keys = own.services.filter((m) => m.ports.some((p) => p.targetPort === port)).map((m) => m.service);
  const [key] = keys;
  return key !== undefined && keys.length === 1 ? pod.mesh.workloads.service(key) : undefined;
}
