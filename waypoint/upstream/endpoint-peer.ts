import type { Duplex } from 'node:stream';
import type { Workload } from '../../lib/mesh/state/model.ts';
import { hostPortText } from '../../lib/mesh/hbone/host-port.ts';
import { ProxyError } from '../../lib/mesh/hbone/proxy-error.ts';
import type { Cancellation } from '../http/cancellation.ts';
import type { AttemptRequest, UpstreamAttempt, UpstreamClient } from '../http/exchange.ts';
import type { CircuitBreaker } from '../resilience/circuit-breaker.ts';
import { CONNECT_TIMEOUT_MS } from '../resilience/timeouts.ts';
import type { Connector } from './connector.ts';
import type { Path } from '../../lib/mesh/waypoint/backend-endpoints.ts';
import type { EndpointDialer, ToldClient } from './endpoint-connector.ts';
import { Http1Client } from './http1-client.ts';
import { Http2Client } from './http2-client.ts';

export interface PeerDependencies {
  readonly dialer: EndpointDialer;
}

export interface PeerOptions {
  readonly path: Path;
  readonly workload: Workload;
  /** Bounds connections of the whole backend. */
  readonly circuit: CircuitBreaker;
  /** Host name of the Service. */
  readonly service: string;
  readonly connectTimeoutMs: number;
  /** All peers of the backend, this one too. */
  readonly siblings: () => Iterable<EndpointPeer>;
}

export type Begun = UpstreamAttempt | 'refused' | 'aborted';

/** One endpoint and the connections to it. */
export class EndpointPeer implements Connector {
  readonly #dialer: EndpointDialer;
  readonly #options: PeerOptions;
  readonly #http1: Http1Client;
  readonly #http2: Http2Client;
  workload: Workload;
  #connectTimeoutMs: number;

  constructor({ dialer }: PeerDependencies, options: PeerOptions) {
    this.#dialer = dialer;
    this.#options = options;
    this.workload = options.workload;
    this.#connectTimeoutMs = options.connectTimeoutMs;
    const usedUp = (requests: number): boolean => options.circuit.connectionUsedUp(requests);
    const onRoom = (places = 1): void => void options.circuit.pending.wake(places);
    this.#http1 = new Http1Client(this, usedUp, onRoom);
    this.#http2 = new Http2Client(this, {
      usedUp,
      onRoom,
      waitForRoom: (signal) => options.circuit.pending.wait(signal),
    });
  }

  get path(): Path {
    return this.#options.path;
  }

  /** Application's address, for logs. */
  get address(): string {
    return hostPortText(this.path.target);
  }

  /** SPIFFE URI that the tunnel's certificate proves. */
  get identity(): string | undefined {
    return this.path.via === 'hbone' ? this.path.expectedIdentities[0] : undefined;
  }

  get connections(): number {
    return this.#http1.connections + this.#http2.connections;
  }

  isSame(path: Path): boolean {
    return JSON.stringify(path) === JSON.stringify(this.#options.path);
  }

  update(workload: Workload, connectTimeoutMs: number): void {
    this.workload = workload;
    this.#connectTimeoutMs = connectTimeoutMs;
  }

  /** Sends a request at once, without waiting for its turn. */
  client(protocol: 'http1' | 'http2'): UpstreamClient {
    return protocol === 'http1' ? this.#http1 : this.#http2;
  }

  /**
   * Sends a request as soon as a connection is free or one more may be made, within the backend's bounds. Looks and begins
   * in one turn of the event loop, so that no other request takes the place between.
   *
   * @returns refused: too many wait already; aborted: it was cancelled; a promise only where there is a wait
   */
  begin(protocol: 'http1' | 'http2', request: AttemptRequest, bound: Cancellation): Begun | Promise<Begun> {
    if (bound.cancelled) return 'aborted';
    if (this.#hasRoom(protocol)) return this.#beginNow(protocol, request);
    return this.#beginInTurn(protocol, request, bound);
  }

  async #beginInTurn(
    protocol: 'http1' | 'http2',
    request: AttemptRequest,
    bound: Cancellation,
  ): Promise<Begun> {
    const { pending } = this.#options.circuit;
    do {
      this.#closeAnIdle(protocol);
      const result = await pending.wait(bound.signal);
      if (result !== 'ready') return result;
      if (bound.cancelled) {
        // A turn that is not used is somebody else's.
        pending.wake();
        return 'aborted';
      }
    } while (!this.#hasRoom(protocol));
    return this.#beginNow(protocol, request);
  }

  #beginNow(protocol: 'http1' | 'http2', request: AttemptRequest): UpstreamAttempt {
    // Rather an idle connection than none.
    const fresh = request.fresh === true && this.#options.circuit.mayConnect();
    return this.client(protocol).request({ ...request, fresh });
  }

  #hasRoom(protocol: 'http1' | 'http2'): boolean {
    if (protocol === 'http1' ? this.#http1.hasFree : this.#http2.hasRoom) return true;
    return this.#options.circuit.mayConnect();
  }

  /** Makes room for a connection where all that the bound allows are open, but idle ones are of no use here. */
  #closeAnIdle(wanted: 'http1' | 'http2'): void {
    for (const peer of this.#options.siblings()) {
      if ((peer !== this || wanted !== 'http1') && peer.#http1.closeOneIdle()) return;
      if ((peer !== this || wanted !== 'http2') && peer.#http2.closeOneIdle()) return;
    }
  }

  /** A pooled connection. @throws ProxyError */
  async connect(): Promise<Duplex> {
    const { circuit, path, service } = this.#options;
    if (!circuit.tryConnection())
      throw new ProxyError('TOO_MANY_CONNECTIONS', 'the circuit breaker admits no further connection');
    try {
      const stream = await this.#dialer.open(path, service, this.#timeoutMs);
      // One that ended meanwhile says so no more.
      if (stream.destroyed) throw new ProxyError('CONNECTION_LOST', 'the connection closed as it was made');
      stream.once('close', () => circuit.endConnection());
      return stream;
    } catch (error) {
      circuit.endConnection();
      throw error;
    }
  }

  /** A connection for one client alone, which the far end is told of. @throws ProxyError */
  connectFor(client: ToldClient): Promise<Duplex> {
    const { path, service } = this.#options;
    return this.#dialer.open(path, service, this.#timeoutMs, client);
  }

  retire(): void {
    this.#http1.retire();
    this.#http2.retire();
  }

  get #timeoutMs(): number {
    return this.#connectTimeoutMs === 0 ? CONNECT_TIMEOUT_MS : this.#connectTimeoutMs;
  }
}
