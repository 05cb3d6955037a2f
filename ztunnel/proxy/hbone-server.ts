import type http2 from 'node:http2';
import type { Socket } from 'node:net';
import { answerStatus, HboneAcceptor, type Peer } from '../../lib/mesh/hbone/hbone-acceptor.ts';
import { parseAuthority } from '../../lib/mesh/hbone/hbone-headers.ts';
import { ProxyError, toProxyError } from '../../lib/mesh/hbone/proxy-error.ts';
import { resetStream } from '../../lib/mesh/hbone/stream-reset.ts';
import { spiffeUri } from '../../lib/spiffe.ts';
import { admit } from './admission.ts';
import { beginInbound, connectApplication, inboundFlow, readRequest } from './inbound.ts';
import { ILLEGAL_PORTS } from '../../lib/mesh/outbound/legal-target.ts';
import type { Pod } from './pod.ts';

/** Longest traceparent that is taken over into the log (W3C: 55 characters in version 00). */
const MAX_TRACE_LENGTH = 64;

/** One pod's HBONE server: mutual TLS with the pod's own certificate, then CONNECT streams to its application. */
export class HboneServer {
  readonly #pod: Pod;
  readonly #acceptor: HboneAcceptor;

  constructor(pod: Pod) {
    this.#pod = pod;
    const { mesh } = pod;
    this.#acceptor = new HboneAcceptor({
      certificates: mesh.certificates,
      identityUri: pod.identityUri,
      trustDomain: mesh.trustDomain,
      maxTunnels: mesh.limits.tunnelsPerPod,
      certificateWaitMs: mesh.limits.stateWaitMs,
      onRefused: (reason) => mesh.metrics.refused(reason),
      log: (level, message, fields) => mesh.log[level](message, { pod: pod.info.uid, ...fields }),
      onStream: (peer, stream, headers) => void this.#serve(peer, stream, headers),
    });
  }

  /** Tunnels into the pod open now. */
  get size(): number {
    return this.#acceptor.size;
  }

  /** Serves one connection that the pod's HBONE listener accepted (paused). Never rejects. */
  accept(socket: Socket): Promise<void> {
    return this.#acceptor.accept(socket);
  }

  /** GOAWAY on every connection; each closes when its last stream ends. */
  drain(): void {
    this.#acceptor.drain();
  }

  /** After a drain: what is accepted from now on lives on. */
  resume(): void {
    this.#acceptor.resume();
  }

  /** Cuts everything. */
  destroy(): void {
    this.#acceptor.destroy();
  }

  /** The address that accepted, or another one that the control plane knows of this pod: that of the other family. */
  #isOwn(ip: string, peer: Peer): boolean {
    return ip === peer.localIp || this.#pod.workload()?.addresses.includes(ip) === true;
  }

  /** Never rejects. */
  async #serve(
    peer: Peer,
    stream: http2.ServerHttp2Stream,
    headers: http2.IncomingHttpHeaders,
  ): Promise<void> {
    const target = headers[':method'] === 'CONNECT' ? parseAuthority(headers[':authority']) : undefined;
    // An address that is not the pod's, or a port of the mesh itself, is none of this pod's to serve.
    if (target === undefined || !this.#isOwn(target.ip, peer) || ILLEGAL_PORTS.has(target.port)) {
      this.#pod.mesh.metrics.refused('BAD_REQUEST');
      answerStatus(stream, 400);
      return;
    }
    if (this.#pod.lacksMemory) {
      this.#pod.mesh.metrics.refused('no-memory');
      answerStatus(stream, 503);
      return;
    }
    const read = () => readRequest(this.#pod, peer, target, headers['forwarded']);
    let request = read();
    const connection = beginInbound(this.#pod, request);
    /** Who stands before the pod may become known during a wait. */
    const refresh = (): void => {
      request = read();
      connection.source = request.client;
      connection.flow = inboundFlow(this.#pod, request);
    };
    const trace = headers['traceparent'];
    if (typeof trace === 'string' && trace.length <= MAX_TRACE_LENGTH) connection.trace = trace;
    connection.onTerminate = () => resetStream(stream);
    let release: (() => void) | undefined;
    try {
      release = this.#pod.takeShare(spiffeUri(peer.identity));
      await admit(connection, this.#pod, () => {
        refresh();
        return {
          // What a waypoint tells of its client's identity is for people: policy goes by what the peer proved.
          sourceIdentity: peer.identity,
          sourceIp: request.told ? request.client.ip : peer.address.ip,
          destIp: target.ip,
          destPort: target.port,
        };
      });
      if (stream.destroyed || stream.closed) throw new ProxyError('STREAM_REFUSED', 'the client gave up');
      const application = await connectApplication(this.#pod, request);
      if (stream.destroyed) application.resetAndDestroy();
      connection.onTerminate = () => {
        resetStream(stream);
        resetStream(application);
      };
      connection.opened();
      if (!stream.destroyed && !stream.closed) stream.respond({ ':status': 200 });
      await connection.carry(stream, application);
    } catch (error) {
      const failure = toProxyError(error);
      answerStatus(stream, statusOf(failure));
      connection.fail(failure);
    } finally {
      release?.();
    }
  }
}

function statusOf(error: ProxyError): number {
  return error.code === 'POLICY_DENIED' || error.code === 'POLICY_CHANGED' ? 401 : 503;
}
