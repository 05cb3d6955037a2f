import { errorText } from '../lib/loam-error.ts';
import { processMemory, threadMemory } from '../lib/memory.ts';
import { parseSpiffeUri } from '../lib/spiffe.ts';
import { configDump } from './admin/config-dump.ts';
import { Readiness } from '../lib/admin/readiness.ts';
import { metricsRoute, readyRoute } from '../lib/admin/program-routes.ts';
import { AdminPorts } from './admin/ports.ts';
import { adminRoutes, type AdminActions } from './admin/routes.ts';
import type { ZtunnelConfig } from './config.ts';
import {
  EGRESS_TYPE,
  followsEgress,
  startCertificates,
  startState,
  type Certificates,
  type StateFeed,
} from './control-plane.ts';
import type { Logger } from './log.ts';
import { PodDirectory } from './pods/pod-directory.ts';
import { ZdsClient } from './pods/zds-client.ts';
import type { Log } from './proxy/mesh.ts';
import { EgressStore } from './egress/egress-store.ts';
import { PolicyStore } from '../lib/mesh/state/policy-store.ts';
import { WorkloadStore } from '../lib/mesh/state/workload-store.ts';
import { MetricsRegistry } from './telemetry/metrics-registry.ts';
import type { LogLevel } from '../lib/mesh/log.ts';
import { STARTED_NS, Takeover } from './takeover.ts';
import { startWorker, type ConnectionWorker } from './worker/worker-host.ts';

/** For own workload, policies and certificates (ambient-facts C3, DESIGN §6). */
const STATE_WAIT_MS = 5_000;
/** A scrape does not wait longer than this for the worker's newest counts. */
const SCRAPE_WAIT_MS = 500;

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
  readonly #zds: ZdsClient;
  // The main thread's own copies, for admin; the worker decides by its own.
  readonly #workloads = new WorkloadStore();
  readonly #policies = new PolicyStore();
  readonly #egress = new EgressStore();
  readonly #ports: AdminPorts;
  readonly #takeover: Takeover;
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
    this.#worker = this.#startWorker();
    const worker = this.#worker;
    this.#certificates = startCertificates(
      config,
      {
        onCertificate: (bundle) => worker.post({ type: 'certificate', bundle }),
        onRemoved: (identity) => worker.post({ type: 'certificate-gone', identity }),
        onExpiryChange: (identity, seconds) => this.#metrics.certificateExpiry(identity, seconds),
      },
      log,
    );
    this.#pods = new PodDirectory(
      {
        setMaps: (fds) => worker.post({ type: 'maps', fds }),
        add: async (pod, fds) => {
          await worker.request('add-pod', { pod, fds });
          this.#metrics.podStarted();
        },
        remove: (uid) => {
          worker.post({ type: 'remove-pod', uid });
          this.#metrics.podStopped();
        },
      },
      this.#certificates,
      config.trustDomain,
    );
    const actions = this.#actions();
    this.#ports = new AdminPorts([
      { address: config.admin, routes: adminRoutes(actions, this.#readiness) },
      { address: config.metrics, routes: { 'GET /metrics': metricsRoute(actions) } },
      { address: config.ready, routes: { 'GET /healthz/ready': readyRoute(this.#readiness) } },
    ]);
    this.#takeover = new Takeover({
      accept: (accepting) => worker.request('accept', { accepting }),
      ports: this.#ports,
      missing: () => this.#missing(),
      onReady: () => this.#zds.announceReady(),
      log: fieldsLast(log),
    });
    this.#zds = new ZdsClient(config.zds, this.#pods, this.#takeover, STARTED_NS, fieldsLast(log));
    this.#addGates();
  }

  /** Opens the ports, then connects to agent and control plane. @throws Error when a port or file cannot be used */
  async start(): Promise<void> {
    if (!(await this.#ports.openIfFree()))
      this.#log.info('another ztunnel has the ports for admin, metrics and readiness, until this one serves');
    this.#feed = startState(
      this.#config,
      {
        onAddresses: (delta) => {
          this.#workloads.apply(delta);
          this.#worker.post({ type: 'addresses', delta });
        },
        onPolicies: (delta) => {
          this.#policies.apply(delta);
          this.#worker.post({ type: 'policies', delta });
        },
        onEgress: (delta) => {
          this.#egress.apply(delta);
          this.#worker.post({ type: 'egress', delta });
        },
        onFirstState: () => this.#worker.post({ type: 'first-state' }),
        onDisconnect: () => this.#metrics.xdsDisconnected(),
      },
      this.#log,
    );
    this.#zds.start();
    this.#takeover.start();
  }

  /** Graceful end: no new connections, time for those that are open, then all is closed (ambient-facts C11). */
  drain(): Promise<void> {
    this.#draining ??= this.#drain();
    return this.#draining;
  }

  async #drain(): Promise<void> {
    const deadlineMs = this.#config.drainDeadlineMs;
    this.#log.info({ deadlineMs }, 'draining');
    this.#takeover.leave();
    this.#zds.leave();
    const cut = await this.#worker.drain(deadlineMs);
    this.#log.info({ cut }, 'drained');
    this.#zds.stop();
    await this.#feed?.stop();
    this.#certificates.stop();
    await this.#ports.close();
    await this.#worker.stop();
  }

  #startWorker(): ConnectionWorker {
    const { clusterId, trustDomain, logLevel, connectionsPerPod, tunnelsPerPod, workerHeapMb } = this.#config;
    const access = this.#log.child({ scope: 'access' });
    return startWorker(
      {
        clusterId,
        trustDomain,
        logLevel,
        egress: followsEgress(this.#config),
        limits: { connectionsPerPod, tunnelsPerPod, stateWaitMs: STATE_WAIT_MS },
      },
      workerHeapMb,
      {
        own: {
          metrics: ({ batch }) => this.#metrics.apply(batch),
          access: ({ records }) => {
            for (const { level, message, fields } of records) access[level](fields, message);
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

  #addGates(): void {
    const state = (): { ready: boolean; reason: string } | undefined => {
      const status = this.#feed?.status();
      if (status === undefined) return { ready: false, reason: 'starting' };
      return status.connected ? undefined : { ready: true, reason: status.lastError ?? 'connecting' };
    };
    const xds = (isReady: () => boolean) => () => {
      const offline = state();
      // A state that was received stays in force while the controller is away (DESIGN §6).
      if (!isReady()) return { ready: false, reason: offline?.reason ?? 'waiting for the first response' };
      return {
        ready: true,
        reason: offline === undefined ? 'in force' : `last state in force; ${offline.reason}`,
      };
    };
    this.#readiness.add(
      'xds-workloads',
      xds(() => this.#feed?.status().addressesReady === true),
    );
    this.#readiness.add(
      'xds-policies',
      xds(() => this.#feed?.status().policiesReady === true),
    );
    if (followsEgress(this.#config)) {
      this.#readiness.add(
        'xds-egress',
        xds(() => this.#feed?.status().types.find(({ typeUrl }) => typeUrl === EGRESS_TYPE)?.ready === true),
      );
    }
    this.#readiness.add('zds-snapshot', () => {
      const { status } = this.#zds;
      switch (status.state) {
        case 'live':
          return { ready: true, reason: 'connected to the agent' };
        case 'snapshot':
          return { ready: false, reason: 'waiting for the rest of the snapshot' };
        case 'connecting':
          return {
            ready: false,
            reason: `no agent at ${this.#config.zds}: ${status.lastError ?? 'connecting'}`,
          };
      }
    });
    this.#readiness.add('listeners', () => {
      const waiting = this.#pods.rows().filter((pod) => pod.state.kind !== 'served');
      const [first] = waiting;
      if (first === undefined) return { ready: true, reason: `${this.#pods.rows().length} pods served` };
      const why = first.state.kind === 'failed' ? first.state.error : first.state.kind;
      return {
        ready: false,
        reason: `${waiting.length} pods not served, ${first.namespace}/${first.name}: ${why}`,
      };
    });
    this.#readiness.add('serving', () => ({
      ready: this.#takeover.serving,
      reason: this.#takeover.reason,
    }));
    this.#readiness.add('draining', () => ({
      ready: this.#draining === undefined,
      reason: this.#draining !== undefined ? 'asked to end' : 'no',
    }));
  }

  /** What is still to come before it could take over from another ztunnel without loss; undefined: nothing. */
  #missing(): string | undefined {
    const { gates } = this.#readiness.report();
    const shut = gates.find(({ name, ready }) => !ready && name !== 'serving' && name !== 'draining');
    if (shut !== undefined) return `${shut.name}: ${shut.reason}`;
    // One that the CA refuses, or that it could not be asked for, the other ztunnel does not get either.
    const pending = this.#certificates.snapshot().find(({ state }) => state === 'pending');
    return pending && `the certificate of ${pending.identity}`;
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
        }),
      connections: () => this.#worker.request('connections', {}),
      logLevel: () => this.#log.level,
      setLogLevel: (level: LogLevel) => {
        this.#log.level = level;
        this.#worker.post({ type: 'log-level', level });
      },
      quit: () => this.#onQuit(),
      metrics: () => this.#scrape(),
      metricsType: this.#metrics.contentType,
      memory: async (collect) => {
        const connections = await this.#worker.request('memory', { collect });
        return processMemory({ main: await threadMemory(collect), connections });
      },
      diagnostics: this.#config.diagnostics,
    };
  }

  async #scrape(): Promise<string> {
    const rows = this.#pods.rows();
    const served = rows.filter((pod) => pod.state.kind === 'served').length;
    this.#metrics.pods(served, rows.length - served);
    this.#metrics.gates(this.#readiness.report().gates);
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<undefined>(
      (resolve) => (timer = setTimeout(() => resolve(undefined), SCRAPE_WAIT_MS)),
    );
    // An answer that comes after the wait is counted all the same.
    const counted = this.#worker.request('metrics', {}).then((batch) => this.#metrics.apply(batch));
    counted.catch((error: unknown) =>
      this.#log.debug({ error: errorText(error) }, 'metrics without the newest counts'),
    );
    await Promise.race([counted.catch(() => undefined), late]);
    clearTimeout(timer);
    return this.#metrics.text();
  }
}

/** The data path's way of logging, on top of pino's. */
function fieldsLast(log: Logger): Log {
  return {
    debug: (message, fields = {}) => log.debug(fields, message),
    info: (message, fields = {}) => log.info(fields, message),
    warn: (message, fields = {}) => log.warn(fields, message),
    error: (message, fields = {}) => log.error(fields, message),
  };
}
