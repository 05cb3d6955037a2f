import type http2 from 'node:http2';
import type { Duplex } from 'node:stream';
import { answerStatus } from '../../lib/mesh/hbone/hbone-acceptor.ts';
import { hostPortText, type HostPort } from '../../lib/mesh/hbone/host-port.ts';
import { ProxyError } from '../../lib/mesh/hbone/proxy-error.ts';
import { Relay } from '../../lib/mesh/hbone/relay.ts';
import { evaluate } from '../../lib/mesh/policy/evaluate.ts';
import { denialAtPod } from '../../lib/mesh/waypoint/pod-policy.ts';
import { resetStream } from '../../lib/mesh/hbone/stream-reset.ts';
import { errorText } from '../../lib/loam-error.ts';
import type { Workload } from '../../lib/mesh/state/model.ts';
import { spiffeUri } from '../../lib/spiffe.ts';
import type { Engine } from '../http/engine.ts';
import type { ConnectionContext } from '../http/request-flow.ts';
import type { Source } from '../../lib/mesh/waypoint/request.ts';
import { pinnedPeer } from '../http/upstream-choice.ts';
import { endpointKey, type Endpoint } from '../resilience/endpoint.ts';
import type { Outcome } from '../resilience/outcome.ts';
import { CONNECT_TIMEOUT_MS } from '../resilience/timeouts.ts';
import { serviceName } from '../state/policy-runtime.ts';
import type { UpstreamEndpoint } from '../telemetry/request-record.ts';
import type { WaypointFlag } from '../telemetry/response-flags.ts';
import type { EndpointDialer, ToldClient } from '../upstream/endpoint-connector.ts';
import type { UpstreamCluster } from '../upstream/upstream-cluster.ts';
import { pathTo } from '../../lib/mesh/waypoint/backend-endpoints.ts';

/** Endpoints that are tried for one connection; nothing was sent to those that failed. */
const MAX_TRIES = 3;

/** What a connection says for or against its endpoint; `unused`: nothing. */
type End = 'served' | 'broken' | 'unused';

interface Opened {
  readonly stream: Duplex;
  readonly upstream: UpstreamEndpoint;
  readonly done: (end: End) => void;
  /** Why it would not be admitted now; undefined: it would. */
  readonly judge: () => Denial | undefined;
}

type Http = 'http1' | 'http2';
type Decide = (server: Duplex | undefined) => Promise<Http | undefined>;

interface Denial {
  readonly policy: string | undefined;
  readonly reason: string;
}

/** A connection that is open, as far as a change of policies concerns it. */
interface Live {
  readonly judge: () => Denial | undefined;
  readonly cut: (denial: Denial) => void;
}

interface OpaqueConnection {
  readonly source: Source;
  readonly destination: HostPort;
  readonly context: ConnectionContext | undefined;
  deniedBy: string | undefined;
  upstream: UpstreamEndpoint | undefined;
}

const OUTCOMES: Readonly<Record<End, Outcome>> = {
  served: { kind: 'status', status: 200 },
  broken: { kind: 'reset' },
  unused: { kind: 'client-gone' },
};

class Refusal extends Error {
  readonly flag: WaypointFlag;
  readonly status: number;

  constructor(flag: WaypointFlag, status: number, message: string) {
    super(message);
    this.flag = flag;
    this.status = status;
  }
}

/** Connections that pass unread: opaque TCP, TLS of the applications' own, and whatever a pod's own waypoint carries. */
export class OpaqueRelay {
  readonly #engine: Engine;
  readonly #dialer: EndpointDialer;
  readonly #live = new Set<Live>();

  /** Every change of policies is held against the connections that are open, as at nodes. */
  constructor(engine: Engine, dialer: EndpointDialer) {
    this.#engine = engine;
    this.#dialer = dialer;
    const recheck = (): void => {
      for (const live of this.#live) recheckOne(live);
    };
    engine.config.onChange(recheck);
    engine.policies.onChange(recheck);
  }

  /**
   * Carries a connection to an endpoint of a Service.
   *
   * @param mode `answer`: the CONNECT is answered when the endpoint is reached; `answered`: it was already
   * @param decide asked before the first byte, with the endpoint's connection or, where it was refused or failed, without
   * @returns what `decide` said: the client speaks HTTP, and nothing was carried; undefined: it was carried to its end
   */
  async toService(
    stream: http2.ServerHttp2Stream,
    context: ConnectionContext,
    mode: 'answer' | 'answered',
    decide?: Decide,
  ): Promise<Http | undefined> {
    const connection: OpaqueConnection = {
      source: context.source,
      destination: context.destination,
      context,
      deniedBy: undefined,
      upstream: undefined,
    };
    return this.#carry(stream, connection, mode, () => this.#openToService(context, connection), decide);
  }

  /** Carries a connection to a pod that has this waypoint of its own, at a port that no Service behind it has. */
  async toWorkload(
    stream: http2.ServerHttp2Stream,
    { source, destination, workload }: { source: Source; destination: HostPort; workload: Workload },
  ): Promise<void> {
    const connection: OpaqueConnection = {
      source,
      destination,
      context: undefined,
      deniedBy: undefined,
      upstream: undefined,
    };
    await this.#carry(stream, connection, 'answer', async () => {
      this.#requireAdmitted(connection, source, destination, workload);
      const path = pathTo(workload, destination.ip, destination.port, [spiffeUri(workload.identity)]);
      const opened = await this.#dialer.open(path, undefined, CONNECT_TIMEOUT_MS, told(source));
      const upstream: UpstreamEndpoint = {
        address: hostPortText(destination),
        workload,
        identity: path.via === 'hbone' ? path.expectedIdentities[0] : undefined,
      };
      const judge = (): Denial | undefined => this.#denialAtWorkload(source, destination, workload, true);
      return { stream: opened, upstream, done: () => undefined, judge };
    });
  }

  /** The pod's own node sees the waypoint: all its L4 policies are asked here for the true client. @throws Refusal */
  #requireAdmitted(
    connection: OpaqueConnection,
    source: Source,
    destination: HostPort,
    workload: Workload,
  ): void {
    const denial = this.#denialAtWorkload(source, destination, workload, false);
    if (denial === undefined) return;
    connection.deniedBy = denial.policy;
    throw new Refusal('DENY', 401, denial.reason);
  }

  #denialAtWorkload(
    source: Source,
    destination: HostPort,
    workload: Workload,
    mayWait: boolean,
  ): Denial | undefined {
    const facts = {
      sourceIdentity: source.identity,
      sourceIp: source.ip,
      destIp: destination.ip,
      destPort: destination.port,
    };
    const verdict = evaluate(this.#engine.policies, workload, facts, { mayWait });
    switch (verdict.verdict) {
      case 'allow':
        return undefined;
      case 'deny':
        return { policy: verdict.policy, reason: verdict.reason };
      case 'wait':
        // A connection that was admitted is not cut for a policy that is still on its way.
        return mayWait ? undefined : { policy: undefined, reason: 'policies are missing' };
    }
  }

  async #carry(
    stream: http2.ServerHttp2Stream,
    connection: OpaqueConnection,
    mode: 'answer' | 'answered',
    open: () => Promise<Opened>,
    decide?: Decide,
  ): Promise<Http | undefined> {
    const { telemetry } = this.#engine;
    const startedMs = performance.now();
    const service = connection.context && serviceName(connection.context.service);
    const flags: WaypointFlag[] = [];
    let requestBytes = 0;
    let responseBytes = 0;
    let error: string | undefined;
    try {
      const opened = await open();
      const http = await decide?.(opened.stream);
      if (http !== undefined) {
        opened.done('unused');
        return http;
      }
      connection.upstream = opened.upstream;
      const peers = { source: connection.source, service, upstream: opened.upstream };
      const handle = telemetry.connections.open(peers);
      if (mode === 'answer' && !stream.destroyed && !stream.closed) stream.respond({ ':status': 200 });
      telemetry.runtime.step('activeConnections', [], 1);
      const relay = new Relay(stream, opened.stream, {
        onForward: (bytes) => {
          requestBytes += bytes;
          handle.request(bytes);
        },
        onBackward: (bytes) => {
          responseBytes += bytes;
          handle.response(bytes);
        },
      });
      const live: Live = {
        judge: opened.judge,
        cut: ({ policy, reason }) => {
          connection.deniedBy = policy;
          error = `closed due to policy change: ${reason}`;
          flags.push('DENY');
          relay.abort('policy');
        },
      };
      this.#live.add(live);
      recheckOne(live);
      const end = await relay.done;
      this.#live.delete(live);
      telemetry.runtime.step('activeConnections', [], -1);
      if (end.kind === 'reset') flags.push(end.side === 'a' ? 'DC' : 'UC');
      handle.close(flags);
      opened.done(end.kind === 'reset' && end.side === 'b' ? 'broken' : 'served');
    } catch (cause) {
      const http = stream.destroyed ? undefined : await decide?.(undefined);
      if (http !== undefined) return http;
      if (connection.deniedBy !== undefined && connection.context !== undefined)
        telemetry.runtime.count('denied', [connection.context.service.key, connection.deniedBy]);
      const refusal = cause instanceof Refusal ? cause : new Refusal('UF', 503, errorText(cause));
      flags.push(refusal.flag);
      error = refusal.message;
      telemetry.connections.refused(
        { source: connection.source, service, upstream: connection.upstream },
        flags,
      );
      if (mode === 'answer') answerStatus(stream, refusal.status);
      else resetStream(stream);
    }
    telemetry.connectionEnded({
      source: connection.source,
      requested: service,
      backend: service,
      upstream: connection.upstream,
      destinationAddress: hostPortText(connection.destination),
      flags,
      durationMs: performance.now() - startedMs,
      requestBytes,
      responseBytes,
      deniedBy: connection.deniedBy,
      error,
    });
    return undefined;
  }

  /** Undefined too for a Service that is known no more: its pods admit this waypoint no more then. */
  #denialAtService({ service, source, port, destination }: ConnectionContext) {
    const decision = this.#engine.runtimes
      .get(service.key)
      ?.authorizer.evaluateConnection({ source, port, destinationIp: destination.ip });
    return decision?.verdict === 'deny' ? decision : undefined;
  }

  async #openToService(context: ConnectionContext, connection: OpaqueConnection): Promise<Opened> {
    const { runtimes, clusters } = this.#engine;
    if (runtimes.get(context.service.key) === undefined)
      throw new Refusal('NC', 503, 'the Service is not known to the waypoint');
    const denied = this.#denialAtService(context);
    if (denied !== undefined) {
      connection.deniedBy = denied.policy;
      throw new Refusal('DENY', 401, denied.reason);
    }
    const cluster = clusters.get(context.service.key, context.port);
    const tried = new Set<string>();
    for (let n = 0; ; n += 1) {
      const picked =
        context.pinned === undefined ? pick(cluster, tried) : pinnedPeer(cluster, context.pinned);
      if (picked === undefined) throw new Refusal('UH', 503, `no healthy endpoint of ${context.service.key}`);
      if (picked === 'circuit-open') throw new Refusal('UO', 503, 'too many connections at once');
      const { endpoint, peer } = picked;
      tried.add(endpointKey(endpoint));
      // Who it is, only its handshake proves.
      connection.upstream = { address: peer.address, workload: peer.workload, identity: undefined };
      const denial = denialAtPod(this.#engine.policies, peer, context.source);
      if (denial !== undefined) {
        connection.deniedBy = denial.policy;
        throw new Refusal('DENY', 401, denial.reason);
      }
      const startedMs = performance.now();
      cluster.cluster.begin(endpoint);
      try {
        const stream = await peer.connectFor(told(context.source));
        const connectMs = performance.now() - startedMs;
        return {
          stream,
          upstream: { ...connection.upstream, identity: peer.identity },
          judge: () =>
            this.#denialAtService(context) ?? denialAtPod(this.#engine.policies, peer, context.source),
          done: (end) => cluster.cluster.done(endpoint, OUTCOMES[end], connectMs),
        };
      } catch (error) {
        cluster.cluster.done(endpoint, { kind: 'connect-failure' }, performance.now() - startedMs);
        if (error instanceof ProxyError && error.code === 'POLICY_DENIED')
          throw new Refusal('DENY', 401, errorText(error));
        if (n + 1 >= MAX_TRIES || context.pinned !== undefined)
          throw new Refusal('UF', 503, errorText(error));
      }
    }
  }
}

function pick(cluster: UpstreamCluster, tried: ReadonlySet<string>) {
  const endpoint: Endpoint | string = cluster.cluster.pick({ tried });
  if (endpoint === 'circuit-open') return endpoint;
  if (typeof endpoint === 'string') return undefined;
  const peer = cluster.peer(endpoint);
  return peer && { endpoint, peer };
}

function recheckOne({ judge, cut }: Live): void {
  const denial = judge();
  if (denial !== undefined) cut(denial);
}

function told(source: Source): ToldClient {
  return { address: { ip: source.ip, port: source.port }, identity: source.identity };
}
