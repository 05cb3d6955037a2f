import type { Socket } from 'node:net';
import { admit } from './admission.ts';
import { plainIp } from '../../lib/mesh/hbone/hbone-headers.ts';
import { beginInbound, connectApplication, inboundFlow, type InboundRequest } from './inbound.ts';
import { ipScope, isIpv6 } from '../../lib/mesh/state/ip.ts';
import { ILLEGAL_PORTS } from '../../lib/mesh/outbound/legal-target.ts';
import type { Pod } from './pod.ts';
import { ProxyError, toProxyError } from '../../lib/mesh/hbone/proxy-error.ts';
import { resetStream } from '../../lib/mesh/hbone/stream-reset.ts';

/**
 * Serves a connection that came to the pod without the mesh (paused): its local address is where the client wanted to
 * go. The peer has no identity, and policy says whether that suffices. A refused one is reset. Never rejects.
 */
export async function servePlaintext(pod: Pod, socket: Socket): Promise<void> {
  socket.on('error', () => undefined);
  const { remotePort, localPort } = socket;
  const target = { ip: plainIp(socket.localAddress), port: localPort ?? 0 };
  if (remotePort === undefined || !isServed(target.ip) || ILLEGAL_PORTS.has(target.port)) {
    // Steering passes loopback by and has listeners of its own for our ports: here, such a connection could only loop.
    pod.mesh.metrics.refused('ILLEGAL_TARGET');
    socket.resetAndDestroy();
    return;
  }
  const client = { ip: plainIp(socket.remoteAddress), port: remotePort };
  const request: InboundRequest = { client, target, identity: undefined };
  const connection = beginInbound(pod, request);
  connection.onTerminate = () => resetStream(socket);
  let release: (() => void) | undefined;
  try {
    if (ipScope(client.ip) === 'loopback')
      throw new ProxyError('ILLEGAL_TARGET', 'a loopback client cannot be here');
    release = pod.takeShare('');
    await admit(connection, pod, () => ({
      sourceIp: client.ip,
      destIp: target.ip,
      destPort: target.port,
    }));
    connection.flow = inboundFlow(pod, request);
    const application = await connectApplication(pod, request);
    connection.opened();
    await connection.carry(socket, application);
  } catch (error) {
    connection.fail(toProxyError(error));
    resetStream(socket);
  } finally {
    release?.();
  }
}

/** An IPv6 link-local address cannot be dialled without its interface, which an accepted socket does not keep for us. */
function isServed(ip: string): boolean {
  const scope = ipScope(ip);
  return scope === 'global' || (scope === 'link-local' && !isIpv6(ip));
}
