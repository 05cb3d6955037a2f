import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { assertNever } from '../../lib/assert-never.ts';
import type { Workload } from '../../lib/mesh/state/model.ts';
import { resolveUpstream, type Upstream } from '../state/upstream.ts';
import {
  baggageHeader,
  forwardedHeader,
  newTraceparent,
  plainIp,
  type HostPort,
} from '../../lib/mesh/hbone/hbone-headers.ts';
import { ILLEGAL_PORTS } from './mesh.ts';
import type { Pod } from './pod.ts';
import { whenConnected } from '../../lib/mesh/hbone/dialer.ts';
import { ProxyError, toProxyError } from '../../lib/mesh/hbone/proxy-error.ts';
import { resetStream } from '../../lib/mesh/hbone/stream-reset.ts';
import { TrackedConnection } from './tracked-connection.ts';

const HBONE_PORT = 15008;
const CONNECT_TIMEOUT_MS = 10_000;

/**
 * Serves a connection of the pod's application that was redirected here (paused: nothing is read from the application
 * before its upstream stands). What cannot be carried is reset, with the reason in log and metric. Never rejects.
 */
export async function serveOutbound(pod: Pod, socket: Socket): Promise<void> {
  socket.on('error', () => undefined);
  const destination = readDestination(pod, socket);
  const client = { ip: plainIp(socket.remoteAddress), port: socket.remotePort ?? 0 };
  if (destination === undefined) {
    pod.mesh.metrics.refused('NO_ORIGINAL_DST');
    pod.mesh.log.warn('outbound connection reset: its original destination is not known', {
      pod: pod.info.uid,
      client: `${client.ip}:${client.port}`,
    });
    socket.resetAndDestroy();
    return;
  }
  const connection = new TrackedConnection(pod.mesh, {
    podUid: pod.info.uid,
    direction: 'outbound',
    source: client,
    destination,
  });
  connection.onTerminate = () => resetStream(socket);
  try {
    requireLegal(destination);
    pod.requireRoom();
    const own = await pod.whenWorkload();
    connection.flow = { ...connection.flow, source: own };
    const upstream = resolveUpstream(pod.mesh.workloads, own, destination);
    describeUpstream(connection, pod, upstream);
    const stream = await connectUpstream(pod, own, connection, upstream, client);
    if (socket.destroyed) resetStream(stream);
    try {
      connection.throwIfTerminated();
    } catch (error) {
      resetStream(stream);
      throw error;
    }
    await connection.carry(socket, stream);
  } catch (error) {
    connection.fail(toProxyError(error));
    resetStream(socket);
  }
}

function readDestination(pod: Pod, socket: Socket): HostPort | undefined {
  try {
    return pod.sockets.originalDst(socket);
  } catch {
    return undefined;
  }
}

/** @throws ProxyError ILLEGAL_TARGET for what could only come back here */
function requireLegal(target: HostPort): void {
  if (ILLEGAL_PORTS.has(target.port)) {
    throw new ProxyError('ILLEGAL_TARGET', `port ${target.port} belongs to the mesh`);
  }
  if (target.port < 1 || target.ip.startsWith('127.') || target.ip === '0.0.0.0') {
    throw new ProxyError('ILLEGAL_TARGET', `${target.ip}:${target.port} cannot be reached through the mesh`);
  }
}

function describeUpstream(connection: TrackedConnection, pod: Pod, upstream: Upstream): void {
  const { flow } = connection;
  switch (upstream.kind) {
    case 'refused':
      connection.flow = { ...flow, service: upstream.service };
      return;
    case 'passthrough':
      return;
    case 'direct':
      connection.flow = { ...flow, destination: upstream.workload, service: upstream.service };
      break;
    case 'hbone':
      connection.flow = {
        ...flow,
        sourceIdentity: pod.identityUri,
        destination: upstream.workload,
        // The pool admits no other peer; with several admissible ones, the first is the workload's own.
        destinationIdentity: upstream.expectedIdentities[0],
        service: upstream.service,
        mutualTls: true,
      };
      connection.hboneAddress = `${upstream.address}:${upstream.targetPort}`;
      break;
    default:
      assertNever(upstream, 'upstream');
  }
  connection.destinationAddress =
    upstream.kind === 'hbone'
      ? `${upstream.address}:${HBONE_PORT}`
      : `${upstream.address}:${upstream.targetPort}`;
}

async function connectUpstream(
  pod: Pod,
  own: Workload,
  connection: TrackedConnection,
  upstream: Upstream,
  client: HostPort,
): Promise<Duplex> {
  switch (upstream.kind) {
    case 'refused':
      throw new ProxyError('REFUSED_DESTINATION', `${upstream.code}: ${upstream.reason}`);
    case 'direct':
    case 'passthrough': {
      const target = { ip: upstream.address, port: upstream.targetPort };
      requireLegal(target);
      connection.opened();
      const socket = pod.sockets.dialRemote(target);
      await whenConnected(socket, CONNECT_TIMEOUT_MS, target);
      socket.setNoDelay(true);
      return socket;
    }
    case 'hbone': {
      requireLegal({ ip: upstream.address, port: upstream.targetPort });
      connection.opened();
      const trace = newTraceparent();
      connection.trace = trace;
      return pod.mesh.pool.open(
        {
          sourcePodUid: pod.info.uid,
          sourceIdentity: pod.identityUri,
          destinationUid: upstream.workload.uid,
          address: { ip: upstream.address, port: HBONE_PORT },
          expectedIdentities: upstream.expectedIdentities,
        },
        {
          sockets: pod.sockets,
          certificate: () => pod.mesh.certificates.whenValid(pod.identityUri, pod.mesh.limits.stateWaitMs),
        },
        {
          ':authority': `${upstream.address}:${upstream.targetPort}`,
          baggage: baggageHeader(own),
          forwarded: forwardedHeader(client, upstream.service?.hostname),
          traceparent: trace,
        },
      );
    }
    default:
      return assertNever(upstream, 'upstream');
  }
}
