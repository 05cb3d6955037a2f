import net from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { FlowRecorder, type WatchLevel } from '../../lib/flow/recorder.ts';
import { bindHost } from '../../lib/admin/listen-address.ts';
import { CertificateStore } from '../../lib/mesh/hbone/certificate-store.ts';
import { DescriptorReserve } from '../../lib/mesh/hbone/descriptor-reserve.ts';
import { HboneAcceptor } from '../../lib/mesh/hbone/hbone-acceptor.ts';
import { baggageHeader } from '../../lib/mesh/hbone/hbone-headers.ts';
import { HbonePool } from '../../lib/mesh/hbone/hbone-pool.ts';
import { MemoryReserve, tellMemory } from '../../lib/mesh/hbone/memory-reserve.ts';
import { PeerBudget } from '../../lib/mesh/hbone/peer-budget.ts';
import { Turn } from '../../lib/mesh/hbone/turn.ts';
import type { Log, LogLevel } from '../../lib/mesh/log.ts';
import { isOwnAddress } from '../../lib/mesh/own-addresses.ts';
import { FirstState } from '../../lib/mesh/state/first-state.ts';
import type { AddressDelta, Workload } from '../../lib/mesh/state/model.ts';
import { PolicyStore } from '../../lib/mesh/state/policy-store.ts';
import { WorkloadStore } from '../../lib/mesh/state/workload-store.ts';
import { spiffeUri } from '../../lib/spiffe.ts';
import { Inbound } from '../hbone/inbound.ts';
import { OpaqueRelay } from '../hbone/opaque.ts';
import type { Engine } from '../http/engine.ts';
import { Http1Server } from '../http/http1-server.ts';
import { Http2Server } from '../http/http2-server.ts';
import { HTTP_LIMITS, type HttpLimits } from '../http/limits.ts';
import { JwksCache } from '../security/jwks-cache.ts';
import { ConfigStore } from '../../lib/mesh/waypoint/config-store.ts';
import { SharedBuckets } from '../resilience/shared-buckets.ts';
import { RuntimeStore } from '../state/service-runtime.ts';
import { ToldTelemetry } from '../telemetry/told.ts';
import { WorkerTelemetry } from '../telemetry/worker-telemetry.ts';
import { ClusterStore } from '../upstream/cluster-store.ts';
import { showUpstreams } from '../upstream/upstream-gauges.ts';
import { EndpointDialer } from '../upstream/endpoint-connector.ts';
import type { FromWorker, Requests, WorkerStart, WorkerStatus } from './messages.ts';

const LISTEN_BACKLOG = 4_096;
const DRAIN_POLL_MS = 50;
/** Whoever used a connection within this time before may be about to use it again. */
const IDLE_AT_DRAIN_MS = 1_000;
const CERTIFICATE_WAIT_MS = 5_000;
const RANK: Record<LogLevel, number> = { debug: 0, info: 1, warn: 2, error: 3 };

/** One worker's world, as its thread drives it. */
export interface WaypointWorker {
  readonly config: ConfigStore;
  readonly policies: PolicyStore;
  readonly firstState: FirstState;
  readonly certificates: CertificateStore;
  applyAddresses(delta: AddressDelta): void;
  setLogLevel(level: LogLevel): void;
  watchFlows(level: WatchLevel): void;
  status(): Omit<WorkerStatus, 'maxLoopDelayMs' | 'heapUsed' | 'heapLimit'>;
  answer(what: Exclude<keyof Requests, 'memory'>): Requests['upstreams' | 'flush']['answer'];
  /** @returns how many client connections had to be cut */
  drain(deadlineMs: number): Promise<number>;
}

/**
 * Makes a worker's parts and begins to listen.
 *
 * @param limits others than the usual ones are for tests, which cannot wait so long
 */
export function createWaypointWorker(
  start: WorkerStart,
  post: (message: FromWorker) => void,
  limits: HttpLimits = HTTP_LIMITS,
): WaypointWorker {
  const { gateway, trustDomain, network, clusterId } = start;
  let level = start.logLevel;
  const line =
    (at: LogLevel) =>
    (message: string, fields: Readonly<Record<string, unknown>> = {}): void => {
      if (RANK[at] >= RANK[level]) post({ type: 'log', level: at, message, fields });
    };
  const log: Log = { debug: line('debug'), info: line('info'), warn: line('warn'), error: line('error') };
  const identityUri = spiffeUri({ trustDomain, namespace: gateway.namespace, serviceAccount: gateway.name });
  const ownService = `${gateway.namespace}/${gateway.name}.${gateway.namespace}.svc.cluster.local`;
  const workloads = new WorkloadStore();
  const policies = new PolicyStore();
  const config = new ConfigStore();
  const firstState = new FirstState();
  const certificates = new CertificateStore((identity) => post({ type: 'certificate-wanted', identity }));
  const pool = new HbonePool();
  const flows = new FlowRecorder((batch) => post({ type: 'flows', batch }));
  const told = new ToldTelemetry(config);
  const telemetry = new WorkerTelemetry({
    flows,
    told: (service) => told.of(service),
    post: (batch) => post({ type: 'telemetry', batch }),
    accessLevel: level,
  });
  const dialer = new EndpointDialer({
    pool,
    certificates,
    identityUri,
    ownUid: `waypoint/${gateway.namespace}/${gateway.name}`,
    baggage: baggageHeader({
      clusterId,
      namespace: gateway.namespace,
      workloadType: 'deployment',
      workloadName: gateway.name,
      canonicalName: gateway.name,
      canonicalRevision: 'latest',
    }),
  });
  const self = (): Workload | undefined =>
    [...workloads.endpoints(ownService).values()].find(({ workload }) =>
      workload.addresses.some((ip) => ip === start.listen.host || isOwnAddress(ip)),
    )?.workload;
  const clusters = new ClusterStore(config, {
    dialer,
    workloads,
    network,
    ownService,
    self,
    onOutlier: (service, event) => {
      if (event.kind === 'ejected') telemetry.runtime.count('ejections', [service, event.cause]);
      log.info('outlier detection', { service, ...event });
    },
  });
  const jwks = new JwksCache({
    onFetch: (uri, outcome) => {
      telemetry.runtime.count('jwksFetches', [uri, outcome]);
      telemetry.wake();
    },
  });
  const runtimes = new RuntimeStore(config, jwks, new SharedBuckets(start.buckets), (message, fields) =>
    log.error(message, fields),
  );
  let sharedKey: Uint8Array | undefined;
  config.onChange(() => {
    const key = config.settings?.sessionKey;
    // The same object while it says the same, since sessions' keys are compared by it.
    if (key === undefined || key.length === 0) sharedKey = undefined;
    else if (sharedKey === undefined || !Buffer.from(key).equals(sharedKey)) sharedKey = key;
    const tracing = config.settings?.tracing;
    telemetry.tracing = {
      enabled: (tracing?.otlpEndpoint ?? '') !== '',
      ratio: tracing?.sampling ?? 0,
    };
  });
  const engine: Engine = {
    config,
    runtimes,
    clusters,
    workloads,
    policies,
    telemetry,
    limits,
    identityUri,
    log,
    active: new Set(),
    sessionKey: () => sharedKey ?? start.sessionKey,
  };
  const protocolError = (reason: string): void => telemetry.runtime.count('protocolErrors', [reason]);
  const turn = new Turn();
  const budget = new PeerBudget(turn);
  const http1 = new Http1Server(limits, (_connection, _status, reason) => protocolError(reason));
  const http2 = new Http2Server(limits, (_connection, _status, reason) => protocolError(reason), turn);
  const descriptors = new DescriptorReserve();
  const memory: MemoryReserve = new MemoryReserve({
    limit: start.memoryLimit,
    open: () => inbound.size,
    onChange: (isTouched, use) => tellMemory(log, isTouched, use),
  });
  const opaque = new OpaqueRelay(engine, dialer);
  const inbound = new Inbound({
    ...{ config, workloads, network, ownService, engine, firstState, http1, http2, opaque },
    maxConnections: start.maxConnections,
    ...{ budget, memory },
  });
  const acceptor = new HboneAcceptor({
    certificates,
    identityUri,
    trustDomain,
    maxTunnels: start.maxTunnels,
    certificateWaitMs: CERTIFICATE_WAIT_MS,
    ...{ turn, budget },
    onRefused: (reason) => telemetry.runtime.count('refusedTunnels', [reason]),
    log: (at, message, fields) => log[at](message, fields),
    onStream: (peer, stream, headers) => void inbound.serve(peer, stream, headers),
  });
  const server = net.createServer({ allowHalfOpen: true, pauseOnConnect: true, noDelay: true }, (socket) => {
    const scarcity = descriptors.isTouchedBy(socket)
      ? 'no-descriptors'
      : memory.isTouched
        ? 'no-memory'
        : undefined;
    if (scarcity === undefined) {
      void acceptor.accept(socket);
      return;
    }
    telemetry.runtime.count('refusedTunnels', [scarcity]);
    socket.on('error', () => undefined);
    socket.resetAndDestroy();
  });
  // Each worker listens for itself, and the kernel spreads connections over them.
  server.listen(
    { host: bindHost(start.listen.host), port: start.listen.port, reusePort: true, backlog: LISTEN_BACKLOG },
    () => post({ type: 'listening' }),
  );

  workloads.onChange((delta) => {
    for (const uid of delta.removed) pool.evictWorkload(uid);
  });

  let deadline = Infinity;
  let draining: Promise<number> | undefined;
  async function drain(): Promise<number> {
    server.close();
    http1.drain();
    http2.drain();
    acceptor.drain();
    const noMoreStreams = performance.now() + IDLE_AT_DRAIN_MS;
    while ((engine.active.size > 0 || inbound.size > 0) && performance.now() < deadline) {
      http1.closeIdle(IDLE_AT_DRAIN_MS);
      if (performance.now() >= noMoreStreams) http2.closeIdle();
      await sleep(DRAIN_POLL_MS);
    }
    const cut = inbound.size;
    http1.close();
    http2.close();
    acceptor.destroy();
    pool.drain();
    await sleep(DRAIN_POLL_MS);
    telemetry.flush();
    return cut;
  }

  return {
    config,
    policies,
    firstState,
    certificates,
    applyAddresses: (delta) => workloads.apply(delta),
    watchFlows: (watched) => flows.watch(watched),
    setLogLevel: (to) => {
      level = to;
      telemetry.accessLevel = to;
    },
    status: () => {
      const { tunnels } = pool.stats();
      telemetry.runtime.set('downstreamTunnels', [], acceptor.size);
      return {
        tunnelsIn: acceptor.size,
        tunnelsOut: tunnels,
        connections: inbound.size,
        requests: engine.active.size,
        jwks: jwks.states().map(({ uri, keys, problem }) => ({ uri, keys, stale: problem !== undefined })),
      };
    },
    answer: (what) => {
      if (what === 'flush') {
        showUpstreams(telemetry.runtime, clusters.all());
        telemetry.flush();
        return 'ok';
      }
      return [...clusters.all()].map((cluster) => ({
        service: cluster.service,
        port: cluster.port,
        ...cluster.cluster.health(),
        circuit: cluster.cluster.circuit.stats(),
        endpoints: [...cluster.peers].map((peer) => ({
          address: peer.address,
          workload: peer.workload.uid,
          connections: peer.connections,
        })),
      }));
    },
    drain: (deadlineMs) => {
      deadline = Math.min(deadline, performance.now() + deadlineMs);
      return (draining ??= drain());
    },
  };
}
