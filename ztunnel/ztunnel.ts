import { FlowHub } from '../lib/flow/hub.ts';
import { checkOwnMaps } from '../lib/linux/bpf/own-sockets.ts';
import { processMemory, threadMemory } from '../lib/memory.ts';
import { parseSpiffeUri } from '../lib/spiffe.ts';
import { configDump } from './admin/config-dump.ts';
import { Readiness } from '../lib/admin/readiness.ts';
import { readyRoute } from '../lib/admin/program-routes.ts';
import { AdminPorts } from './admin/ports.ts';
import { adminRoutes, metricsRoutes, type AdminActions } from './admin/routes.ts';
import type { ZtunnelConfig } from './config.ts';
import {
  followedTypes,
  followsEgress,
  isOnDemand,
  startCertificates,
  startState,
  type Certificates,
  type StateFeed,
} from './control-plane.ts';
import { addGates, missingForTakeover } from './gates.ts';
import type { HeldStateContent } from './held-state/format.ts';
import { HeldStateKeeper } from './held-state/keeper.ts';
import { ReceivedState } from './held-state/received.ts';
import { fieldsLast, type Logger } from './log.ts';
import { NodeDemand } from './on-demand/node-demand.ts';
import { ADDRESS_TYPE } from '../lib/mesh/xds/delta-service.ts';
import type { EgressDelta } from '../lib/mesh/egress/model.ts';
import type { AddressDelta } from '../lib/mesh/state/model.ts';
import { ObserveFollower } from './observe/follower.ts';
import { ExpectedPods } from './pods/expected-pods.ts';
import { PodDirectory } from './pods/pod-directory.ts';
import { StandIns } from './pods/stand-ins.ts';
import { ZdsClient } from './pods/zds-client.ts';
import { EgressStore } from '../lib/mesh/egress/egress-store.ts';
import { PolicyStore } from '../lib/mesh/state/policy-store.ts';
import { WorkloadStore } from '../lib/mesh/state/workload-store.ts';
import { AccessLog } from '../lib/mesh/telemetry/access-log.ts';
import { scrape } from './telemetry/scrape.ts';
import { SpanExport } from './telemetry/span-export.ts';
import { MetricsRegistry } from './telemetry/metrics-registry.ts';
import type { LogLevel } from '../lib/mesh/log.ts';
import { untilAgentHolds } from './leaving.ts';
import { STARTED_NS, Takeover } from './takeover.ts';
import { startWorker, type ConnectionWorker } from './worker/worker-host.ts';

/** For own workload, policies and certificates (ambient-facts C3, DESIGN §6). */
const STATE_WAIT_MS = 5_000;
/** For so long a controller may take to answer before what an earlier ztunnel left is gone by. */
const HELD_GRACE_MS = 2_000;
/** So long it waits at its end for an agent that is being replaced. */
const AGENT_WAIT_MS = 20_000;

/** The node's tunnel: the main thread's parts, and the connection worker. */
export class Ztunnel {
  readonly #config: ZtunnelConfig;
  readonly #log: Logger;
  readonly #version: string;
  readonly #onFatal: (error: Error) => void;
  readonly #onQuit: () => void;
  readonly #readiness = new Readiness();
  readonly #metrics: MetricsRegistry;
  readonly #worker: ConnectionWorker;
  readonly #certificates: Certificates;
  readonly #pods: PodDirectory;
  readonly #expected: ExpectedPods | undefined;
  readonly #zds: ZdsClient;
  // The main thread's own copies, for admin; the worker decides by its own.
  readonly #workloads = new WorkloadStore();
  readonly #policies = new PolicyStore();
  readonly #egress = new EgressStore();
  readonly #flows: FlowHub;
  readonly #ports: AdminPorts;
  readonly #spans: SpanExport;
  readonly #takeover: Takeover;
  readonly #received: ReceivedState;
  readonly #keeper: HeldStateKeeper;
  /** Where an agent is asked about observed pods. */
  readonly #observe: ObserveFollower | undefined;
  /** No controller has answered, and what the agent held is gone by. */
  #heldInForce = false;
  /** Where the node does not follow the whole mesh. */
  readonly #demand: NodeDemand | undefined;
  readonly #standIns: StandIns;
  #feed: StateFeed | undefined;
  #draining: Promise<void> | undefined;

  /**
   * @param onFatal the connection worker failed: the program must end with an error
   * @param onQuit admin asked for a graceful end
   */
  constructor(
    config: ZtunnelConfig,
    log: Logger,
    version: string,
    onFatal: (error: Error) => void,
    onQuit: () => void,
  ) {
    this.#config = config;
    this.#log = log;
    this.#version = version;
    this.#onFatal = onFatal;
    this.#onQuit = onQuit;
    this.#metrics = new MetricsRegistry(version);
    this.#spans = new SpanExport(version, config.node, this.#metrics, log);
    this.#worker = this.#startWorker();
    this.#flows = new FlowHub({
      hello: { program: 'ztunnel', version, node: config.node },
      watch: (level) => {
        this.#worker.post({ type: 'watch-flows', level });
        this.#observe?.watch(level);
      },
    });
    const worker = this.#worker;
    this.#keeper = new HeldStateKeeper({
      owner: config,
      hand: (fd) => this.#zds.leaveState(fd),
      log: fieldsLast(log),
    });
    this.#received = new ReceivedState({
      owner: config,
      maxAgeMs: config.heldStateMaxAgeMs,
      use: ({ certificates }) => this.#certificates.restore(certificates),
      log: fieldsLast(log),
    });
    this.#certificates = startCertificates(
      config,
      {
        onCertificate: (bundle) => {
          worker.post({ type: 'certificate', bundle });
          this.#keeper.certificate(bundle);
        },
        onRemoved: (identity) => {
          worker.post({ type: 'certificate-gone', identity });
          this.#keeper.certificateGone(identity);
        },
        onExpiryChange: (identity, seconds) => this.#metrics.certificateExpiry(identity, seconds),
      },
      log,
    );
    // A folder has certificates at once or never.
    if (config.certificates.from !== 'folder')
      this.#expected = new ExpectedPods({ node: config.node, identities: this.#certificates });
    this.#pods = new PodDirectory(
      {
        setMaps: (fds) => {
          checkOwnMaps(fds);
          worker.post({ type: 'maps', fds });
        },
        add: async (pod, fds) => {
          this.#demand?.setPods(this.#pods.rows());
          this.#standIns.look();
          await worker.request('add-pod', { pod, fds });
          this.#metrics.podStarted();
        },
        remove: (uid) => {
          worker.post({ type: 'remove-pod', uid });
          this.#demand?.setPods(this.#pods.rows());
          this.#metrics.podStopped();
        },
        release: (uid) => {
          worker.post({ type: 'release-pod', uid });
          this.#metrics.podStopped();
        },
      },
      this.#certificates,
      config.trustDomain,
    );
    this.#demand = isOnDemand(config) ? this.#makeDemand() : undefined;
    this.#observe = this.#makeObserve(config.agentStatus);
    const actions = this.#actions();
    this.#ports = new AdminPorts(
      [
        { address: config.admin, routes: adminRoutes(actions, this.#readiness, config.agentStatus) },
        { address: config.metrics, routes: metricsRoutes(actions, config.agentStatus) },
        { address: config.ready, routes: { 'GET /healthz/ready': readyRoute(this.#readiness) } },
      ],
      () => this.#flows.leave(),
    );
    this.#standIns = this.#makeStandIns();
    this.#takeover = new Takeover({
      accept: (accepting) => worker.request('accept', { accepting }),
      ports: this.#ports,
      missing: () => missingForTakeover(this.#readiness, this.#certificates.snapshot(), this.#pods.rows()),
      onReady: () => {
        this.#certificates.forgetRestored();
        this.#zds.announceReady();
      },
      received: this.#received,
      keeper: this.#keeper,
      log: fieldsLast(log),
    });
    this.#zds = new ZdsClient(config.zds, this.#pods, this.#takeover, STARTED_NS, fieldsLast(log));
    addGates(this.#readiness, {
      config,
      feed: () => this.#feed,
      heldInForce: () => this.#heldInForce,
      zds: this.#zds,
      pods: this.#pods,
      takeover: this.#takeover,
      draining: () => this.#draining !== undefined,
    });
  }

  /** Opens the ports, then connects to agent and control plane. @throws Error when a port or file cannot be used */
  async start(): Promise<void> {
    if (!(await this.#ports.openIfFree()))
      this.#log.info('another ztunnel has the ports for admin, metrics and readiness, until this one serves');
    this.#zds.start();
    const held = this.#config.state.from === 'xds' ? await this.#received.wait() : undefined;
    this.#feed = await startState(
      this.#config,
      {
        onAddresses: (delta) => {
          this.#applyAddresses(delta);
          this.#expected?.came(delta);
          this.#demand?.came(delta);
        },
        onPolicies: (delta) => {
          this.#policies.apply(delta);
          this.#worker.post({ type: 'policies', delta });
        },
        onEgress: (delta) => this.#applyEgress(delta),
        onFirstState: () => this.#worker.post({ type: 'first-state' }),
        onRaw: (typeUrl, delta) => this.#keeper.resources(typeUrl, delta),
        onTold: (names) => this.#demand?.told(names),
        onDisconnect: () => this.#metrics.xdsDisconnected(),
      },
      this.#log,
      held?.types,
    );
    if (this.#demand !== undefined) {
      const restored = held?.types.find(({ typeUrl }) => typeUrl === ADDRESS_TYPE)?.resources ?? [];
      const names = restored.map(({ name }) => name);
      this.#worker.post({ type: 'addresses-told', names, restored: true });
      this.#demand.begin(names);
    }
    if (held !== undefined) this.#fallBackOn(held);
    this.#takeover.start();
    this.#standIns.start();
    this.#observe?.start();
  }

  #applyEgress(delta: EgressDelta): void {
    this.#egress.apply(delta);
    this.#worker.post({ type: 'egress', delta });
  }

  #applyAddresses(delta: AddressDelta): void {
    this.#workloads.apply(delta);
    this.#worker.post({ type: 'addresses', delta });
  }

  #makeObserve(socketPath: string | undefined): ObserveFollower | undefined {
    if (socketPath === undefined) return undefined;
    const demand = this.#demand;
    return new ObserveFollower({
      ...{ socketPath, clusterId: this.#config.clusterId, workloads: this.#workloads },
      isServing: () => this.#takeover.serving,
      ask: demand && ((names) => demand.ask(names)),
      count: (batch) => this.#metrics.apply(batch),
      more: this.#metrics.observe,
      tell: (batch) => this.#flows.apply(batch),
      log: fieldsLast(this.#log),
    });
  }

  #makeStandIns(): StandIns {
    return new StandIns({
      ...this.#config,
      followsAll: !isOnDemand(this.#config),
      workloads: this.#workloads,
      policies: this.#policies,
      egress: this.#egress,
      pods: () => this.#pods.rows(),
      isAway: () => {
        const status = this.#feed?.status();
        if (status === undefined || status.connected) return false;
        return this.#heldInForce || status.types.every(({ ready }) => ready);
      },
      apply: (addresses, egress) => {
        this.#applyAddresses(addresses);
        this.#applyEgress(egress);
      },
      log: fieldsLast(this.#log),
    });
  }

  #makeDemand(): NodeDemand {
    return new NodeDemand({
      ...{ node: this.#config.node, clusterId: this.#config.clusterId, workloads: this.#workloads },
      feed: () => this.#feed,
      apply: (delta) => this.#applyAddresses(delta),
      hold: (typeUrl, delta) => this.#keeper.resources(typeUrl, delta),
      tell: (names) => this.#worker.post({ type: 'addresses-told', names }),
    });
  }

  /** What was held is gone by when no controller tells better soon: it may have changed its mind meanwhile. */
  #fallBackOn(held: HeldStateContent): void {
    const missing = followedTypes(this.#config).find(
      (type) => !held.types.some(({ typeUrl }) => typeUrl === type),
    );
    if (missing !== undefined) {
      this.#log.warn({ missing }, 'held state: not enough to go by while the controller is away');
      return;
    }
    setTimeout(() => {
      if (this.#feed?.status().types.every(({ ready }) => ready) === true) return;
      this.#heldInForce = true;
      this.#worker.post({ type: 'first-state' });
      this.#log.warn('held state: in force, since no controller answers');
    }, HELD_GRACE_MS).unref();
  }

  /** Graceful end: no new connections, time for those that are open, then all is closed (ambient-facts C11). */
  drain(): Promise<void> {
    this.#draining ??= this.#drain();
    return this.#draining;
  }

  async #drain(): Promise<void> {
    const deadlineMs = this.#config.drainDeadlineMs;
    const began = performance.now();
    this.#log.info({ deadlineMs, agent: this.#zds.status.state }, 'draining');
    await untilAgentHolds(
      {
        serving: () => this.#takeover.serving,
        agentHolds: () => this.#zds.status.state === 'live',
        pods: () => this.#pods.rows().length,
      },
      Math.min(AGENT_WAIT_MS, deadlineMs / 2),
    );
    this.#takeover.leave();
    this.#zds.leave();
    const cut = await this.#worker.drain(Math.max(0, deadlineMs - (performance.now() - began)));
    this.#log.info({ cut }, 'drained');
    this.#observe?.stop();
    for (const part of [this.#zds, this.#standIns, this.#expected]) part?.stop();
    await this.#feed?.stop();
    this.#certificates.stop();
    await this.#ports.close();
    this.#flows.close();
    await this.#worker.stop();
    await this.#spans.close();
  }

  #startWorker(): ConnectionWorker {
    const { clusterId, trustDomain, logLevel, connectionsPerPod, tunnelsPerPod } = this.#config;
    const { workerHeapMb, memoryLimitMb } = this.#config;
    const access = new AccessLog(this.#log);
    return startWorker(
      {
        clusterId,
        trustDomain,
        logLevel,
        egress: followsEgress(this.#config),
        onDemand: isOnDemand(this.#config),
        limits: { connectionsPerPod, tunnelsPerPod, stateWaitMs: STATE_WAIT_MS },
        memoryLimit: memoryLimitMb * 2 ** 20,
      },
      workerHeapMb,
      {
        own: {
          metrics: ({ batch }) => this.#metrics.apply(batch),
          'addresses-wanted': ({ names }) => this.#demand?.ask(names),
          'addresses-unwanted': ({ names }) => this.#demand?.forget(names),
          flows: ({ batch }) => this.#flows.apply(batch),
          spans: ({ spans, lost }) => this.#spans.add(spans, lost),
          access: ({ records }) => {
            for (const record of records) access.write(record);
          },
        },
        status: (status) => this.#metrics.workerStatus(status),
        log: (level, message, fields) => this.#log[level](fields, message),
        certificateWanted: (identity) => this.#certificates.prioritize(parseSpiffeUri(identity)),
        stalled: (stalled) => {
          this.#metrics.workerStalled(stalled);
          if (stalled) this.#log.error('the connection worker is stalled: connections stand still');
          else this.#log.warn('the connection worker goes on');
        },
        failed: (error) => this.#onFatal(error),
      },
    );
  }

  #actions(): AdminActions {
    const feed = (): StateFeed => {
      if (this.#feed === undefined) throw new Error('starting');
      return this.#feed;
    };
    return {
      configDump: () =>
        configDump({
          config: this.#config,
          version: this.#version,
          workloads: this.#workloads,
          policies: this.#policies,
          egress: this.#egress,
          certificates: this.#certificates,
          pods: this.#pods,
          feed,
          zds: this.#zds,
          keeper: this.#keeper,
        }),
      connections: () => this.#worker.request('connections', {}),
      flows: this.#flows,
      logLevel: () => this.#log.level,
      setLogLevel: (level: LogLevel) => {
        this.#log.level = level;
        this.#worker.post({ type: 'log-level', level });
      },
      quit: () => this.#onQuit(),
      metrics: (accept) =>
        scrape({
          ...{ metrics: this.#metrics, pods: this.#pods, readiness: this.#readiness },
          ...{ worker: this.#worker, feed: this.#feed, log: this.#log, accept },
        }),
      memory: async (collect) => {
        const connections = await this.#worker.request('memory', { collect });
        return processMemory({ main: await threadMemory(collect), connections });
      },
      diagnostics: this.#config.diagnostics,
    };
  }
}
