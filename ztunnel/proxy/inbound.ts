import type { Socket } from 'node:net';
import { spiffeUri, type Identity } from '../../lib/spiffe.ts';
import type { Service, Workload } from '../../lib/mesh/state/model.ts';
import type { Flow } from '../telemetry/flow-labels.ts';
import type { HostPort } from '../../lib/mesh/hbone/hbone-headers.ts';
import { whenConnected } from '../../lib/mesh/hbone/dialer.ts';
import type { Pod } from './pod.ts';
import { TrackedConnection } from './tracked-connection.ts';

const APPLICATION_CONNECT_TIMEOUT_MS = 10_000;

/** Who comes in, and for what. */
export interface InboundRequest {
  /** The client's true address, as the application shall see it. */
  readonly client: HostPort;
  /** The pod's own address and port that the client wants. */
  readonly target: HostPort;
  /** Proven by the peer's certificate; undefined for plaintext. */
  readonly identity: Identity | undefined;
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
  const { identity } = request;
  const workload = pod.workload();
  return {
    reporter: 'destination',
    source: sourceWorkload(pod, workload, request),
    sourceIdentity: identity && spiffeUri(identity),
    destination: workload,
    destinationIdentity: identity && pod.identityUri,
    service: workload && servedAs(pod, workload, request.target.port),
    mutualTls: identity !== undefined,
  };
}

/**
 * Connects to the pod's application from inside the pod.
 *
 * @throws ProxyError CONNECT_FAILED, CONNECT_TIMEOUT; SystemCallError when the socket cannot be made
 */
export async function connectApplication(pod: Pod, request: InboundRequest): Promise<Socket> {
  const socket = pod.sockets.dialApplication(request.target, request.client);
  await whenConnected(socket, APPLICATION_CONNECT_TIMEOUT_MS, request.target);
  socket.setNoDelay(true);
  return socket;
}

/** The workload at the client's address; where an identity is proven, only if it is that identity's. */
function sourceWorkload(pod: Pod, own: Workload | undefined, request: InboundRequest): Workload | undefined {
  const found = pod.mesh.workloads.workloadAt(own?.network ?? '', request.client.ip);
  if (found === undefined || request.identity === undefined) return found;
  return spiffeUri(found.identity) === spiffeUri(request.identity) ? found : undefined;
}

/** The service of which this port of the pod is an endpoint, when it is of one only. */
function servedAs(pod: Pod, own: Workload, port: number): Service | undefined {
  const keys = own.services.filter((m) => m.ports.some((p) => p.targetPort === port)).map((m) => m.service);
  const [key] = keys;
  return key !== undefined && keys.length === 1 ? pod.mesh.workloads.service(key) : undefined;
}
