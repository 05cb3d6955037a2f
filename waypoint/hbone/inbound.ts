import type http2 from 'node:http2';
import type { Duplex } from 'node:stream';
import { answerStatus, type Peer } from '../../lib/mesh/hbone/hbone-acceptor.ts';
import type { MemoryReserve } from '../../lib/mesh/hbone/memory-reserve.ts';
import type { PeerBudget } from '../../lib/mesh/hbone/peer-budget.ts';
import { Shares } from '../../lib/mesh/hbone/shares.ts';
import { hostPortText, parseAuthority } from '../../lib/mesh/hbone/hbone-headers.ts';
import { spiffeUri } from '../../lib/spiffe.ts';
import { waitForState } from '../../lib/mesh/state/wait.ts';
import type { FirstState } from '../../lib/mesh/state/first-state.ts';
import { Protocol } from '../../proto/gen/loam/waypoint/v1/waypoint_pb.js';
import { detectProtocol, type Heard } from '../http/detect.ts';
import type { Engine } from '../http/engine.ts';
import type { ExchangeHandler } from '../http/exchange.ts';
import type { HttpLimits } from '../http/limits.ts';
import type { Http1Server } from '../http/http1-server.ts';
import type { Http2Server } from '../http/http2-server.ts';
import { serveRequest, type ConnectionContext } from '../http/request-flow.ts';
import {
  findDestination,
  type Destination,
  type DestinationContext,
} from '../../lib/mesh/waypoint/destination.ts';
import { sourceOf } from './client-source.ts';
import { hearLate } from './late-client.ts';
import { OpaqueRelay } from './opaque.ts';

/** For what the control plane has yet to tell. */
const STATE_WAIT_MS = 5_000;

export interface InboundOptions extends DestinationContext {
  readonly engine: Engine;
  readonly firstState: FirstState;
  readonly http1: Http1Server;
  readonly http2: Http2Server;
  readonly opaque: OpaqueRelay;
  /** At once; no identity can have them all. */
  readonly maxConnections: number;
  readonly budget: PeerBudget;
  readonly memory: MemoryReserve;
}

/** What comes in by HBONE: each stream is one client's connection to something behind this waypoint. */
export class Inbound {
  readonly #options: InboundOptions;
  readonly #shares = new Shares();
  #open = 0;

  constructor(options: InboundOptions) {
    this.#options = options;
  }

  /** Client connections open now. */
  get size(): number {
    return this.#open;
  }

  /** Serves one CONNECT. Never rejects. */
  async serve(
    peer: Peer,
    stream: http2.ServerHttp2Stream,
    headers: http2.IncomingHttpHeaders,
  ): Promise<void> {
    const { engine, maxConnections, firstState, workloads, network, budget, memory } = this.#options;
    const target = headers[':method'] === 'CONNECT' ? parseAuthority(headers[':authority']) : undefined;
    if (target === undefined) {
      this.#refuse(stream, 400, 'bad-request');
      return;
    }
    if (this.#open >= maxConnections) {
      this.#refuse(stream, 503, 'too-many-connections');
      return;
    }
    if (memory.isTouched) {
      this.#refuse(stream, 503, 'no-memory');
      return;
    }
    if (budget.isSpent(peer.address.ip)) {
      this.#refuse(stream, 503, 'too-many-resets');
      return;
    }
    const identity = spiffeUri(peer.identity);
    if (!this.#shares.take(identity, maxConnections - this.#open)) {
      this.#refuse(stream, 503, 'connections-of-identity');
      return;
    }
    this.#open += 1;
    stream.once('close', () => {
      this.#open -= 1;
      this.#shares.release(identity);
    });
    if (!firstState.complete) {
      await waitForState([firstState], () => (firstState.complete ? true : undefined), STATE_WAIT_MS);
    }
    const destination = firstState.complete
      ? findDestination(this.#options, target)
      : ({ kind: 'refused', status: 503, reason: 'no configuration yet' } as const);
    if (stream.destroyed || stream.closed) return;
    const source = sourceOf(peer, headers, workloads, network);
    switch (destination.kind) {
      case 'refused':
        engine.log.warn('connection refused', {
          source: hostPortText(source),
          target: hostPortText(target),
          reason: destination.reason,
        });
        this.#refuse(stream, destination.status, `status-${destination.status}`);
        return;
      case 'workload':
        await this.#options.opaque.toWorkload(stream, {
          source,
          destination: target,
          workload: destination.workload,
        });
        return;
      case 'service':
        await this.#serveService(stream, destination, {
          source,
          service: destination.service,
          port: destination.port,
          destination: target,
          pinned: destination.pinned,
        });
        return;
    }
  }

  async #serveService(
    stream: http2.ServerHttp2Stream,
    destination: Extract<Destination, { kind: 'service' }>,
    context: ConnectionContext,
  ): Promise<void> {
    const { engine, http1, http2: h2, opaque, budget } = this.#options;
    if (destination.protocol === Protocol.TCP) {
      await opaque.toService(stream, context, 'answer');
      return;
    }
    stream.respond({ ':status': 200 });
    const handler: ExchangeHandler = (exchange) => void serveRequest(engine, context, exchange);
    let spoken = await spokenProtocol(stream, protocolToRead(destination), engine.limits);
    if (stream.destroyed) return;
    if (spoken === 'silent') {
      const late = await opaque.toService(stream, context, 'answered', (server) => hearLate(stream, server));
      if (late === undefined || stream.destroyed) return;
      spoken = late;
    }
    if (stream.readableEnded && spoken !== 'opaque') {
      // It left without a request.
      stream.end();
      return;
    }
    switch (spoken) {
      case 'http1':
        http1.accept(stream, handler);
        return;
      case 'http2':
        h2.accept(stream, handler, (amount) => budget.spend(context.source.ip, amount));
        return;
      case 'opaque':
        await opaque.toService(stream, context, 'answered');
        return;
    }
  }

  #refuse(stream: http2.ServerHttp2Stream, status: number, reason: string): void {
    this.#options.engine.telemetry.runtime.count('refusedTunnels', [reason]);
    answerStatus(stream, status);
  }
}

/**
 * A Service with RequestAuthentication is read at every port that is not declared opaque. Else a client that begins late
 * would reach it with tokens that nobody verified, and with forged headers that only the waypoint may write.
 */
function protocolToRead({ protocol, service }: Extract<Destination, { kind: 'service' }>): Protocol {
  return protocol === Protocol.DETECT && service.authentication.length > 0 ? Protocol.HTTP1 : protocol;
}

/** A Service that says HTTP gets HTTP: what else comes is answered with an error, and never passes unread. */
async function spokenProtocol(stream: Duplex, declared: Protocol, limits: HttpLimits): Promise<Heard> {
  switch (declared) {
    case Protocol.HTTP2:
    case Protocol.GRPC:
      return 'http2';
    case Protocol.HTTP1: {
      // Clients with prior knowledge speak HTTP/2 to whatever says HTTP.
      const detected = await detectProtocol(stream, { timeoutMs: limits.connectionIdleTimeoutMs });
      return detected === 'http2' ? 'http2' : 'http1';
    }
    case Protocol.DETECT:
    case Protocol.TCP:
      return detectProtocol(stream, { timeoutMs: limits.detectTimeoutMs });
  }
}
