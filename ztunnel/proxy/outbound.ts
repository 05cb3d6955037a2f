import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { assertNever } from '../../lib/assert-never.ts';
import { resolveUpstream, type RefusalCode, type Upstream } from '../../lib/mesh/outbound/upstream.ts';
import { hostPortText, plainIp, type HostPort } from '../../lib/mesh/hbone/hbone-headers.ts';
import { whyIllegal } from '../../lib/mesh/outbound/legal-target.ts';
import { admitEgress } from './egress-admission.ts';
import { connectEnrolled } from './enrolment-wait.ts';
import { settleDestination } from '../on-demand/settle.ts';
import { describeUpstream, type Outbound, type Waypointed } from './outbound-flow.ts';
import { connectTunnel, connectWaypoint } from './outbound-tunnel.ts';
import type { Pod } from './pod.ts';
import { whenConnected } from '../../lib/mesh/hbone/dialer.ts';
import { ProxyError, toProxyError } from '../../lib/mesh/hbone/proxy-error.ts';
import { resetStream } from '../../lib/mesh/hbone/stream-reset.ts';
import { TrackedConnection } from './tracked-connection.ts';

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
      client: hostPortText(client),
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
    const resolve = async (): Promise<Upstream> => {
      await settleDestination(pod, own, destination.ip);
      return admitEgress(connection, pod, own, destination, () =>
        resolveUpstream(pod.mesh.workloads, own, destination),
      );
    };
    const outbound = { pod, own, connection, client };
    const stream = await connectEnrolled(pod, resolve, (upstream) => {
      describeUpstream(connection, pod, upstream);
      connection.throwIfTerminated();
      return upstream.kind === 'waypoint'
        ? connectWaypoint(outbound, destination, upstream)
        : connectUpstream(outbound, upstream);
    });
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
  const why = whyIllegal(target);
  if (why !== undefined) throw new ProxyError('ILLEGAL_TARGET', why);
}

function refusal(code: RefusalCode, reason: string): ProxyError {
  const waypoint = code === 'waypoint-missing' || code === 'waypoint-unhealthy';
  return new ProxyError(waypoint ? 'WAYPOINT_UNAVAILABLE' : 'REFUSED_DESTINATION', `${code}: ${reason}`);
}

async function connectUpstream(outbound: Outbound, upstream: Exclude<Upstream, Waypointed>): Promise<Duplex> {
  const { pod, connection } = outbound;
  switch (upstream.kind) {
    case 'refused':
      throw refusal(upstream.code, upstream.reason);
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
    case 'hbone':
      requireLegal({ ip: upstream.address, port: upstream.targetPort });
      connection.opened();
      return connectTunnel(outbound, upstream);
    default:
      return assertNever(upstream, 'upstream');
  }
}
