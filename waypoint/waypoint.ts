import { randomBytes } from 'node:crypto';
import type { Server } from 'node:http';
import type { Logger } from 'pino';
import { serveRoutes } from '../lib/admin/http-routes.ts';
import { FlowHub } from '../lib/flow/hub.ts';
import { Readiness } from '../lib/admin/readiness.ts';
import { errorText } from '../lib/loam-error.ts';
import { IstioCaClient } from '../lib/mesh/identity/ca-client.ts';
import { CertificateManager } from '../lib/mesh/identity/certificate-manager.ts';
import { PolicyStore } from '../lib/mesh/state/policy-store.ts';
import { WorkloadStore } from '../lib/mesh/state/workload-store.ts';
import { ADDRESS_TYPE, AUTHORIZATION_TYPE } from '../lib/mesh/xds/delta-service.ts';
import { Subscription } from '../lib/mesh/xds/subscription.ts';
import { XdsClient } from '../lib/mesh/xds/xds-client.ts';
import { processMemory, threadMemory } from '../lib/memory.ts';
import { spiffeUri, type Identity } from '../lib/spiffe.ts';
import type { MetricsPage } from '../lib/admin/metrics-page.ts';
import { metricsRoute, readyRoute } from '../lib/admin/program-routes.ts';
import { configDump } from './admin/config-dump.ts';
import { adminRoutes } from './admin/routes.ts';
import type { WaypointConfig } from './config.ts';
import { ConfigStore, type NamedResource } from '../lib/mesh/waypoint/config-store.ts';
import { decodeResource, RESOURCE_TYPE } from './state/decode-resource.ts';
import { TelemetryHub } from './telemetry/telemetry-hub.ts';
import type { WorkerStart, WorkerStatus } from './worker/messages.ts';
import { startWorker, type ConnectionWorker } from './worker/worker-host.ts';
import { SharedBuckets } from './resilience/shared-buckets.ts';

const SESSION_KEY_BYTES = 32;
/** A scrape does not wait longer than this for the workers' newest counts. */
const SCRAPE_WAIT_MS = 500;

const XDS_GATES = [
  [ADDRESS_TYPE, 'xds-workloads'],
  [AUTHORIZATION_TYPE, 'xds-policies'],
  [RESOURCE_TYPE, 'xds-config'],
] as const;

/** The waypoint: the main thread's parts, and the connection workers. */
export class Waypoint {
  readonly #config: WaypointConfig;
  readonly #log: Logger;
  readonly #version: string;
  readonly #onFatal: (error: Error) => void;
  readonly #onQuit: () => void;
  readonly #identity: Identity;
  readonly #readiness = new Readiness();
  readonly #telemetry: TelemetryHub;
  readonly #flows: FlowHub;
  readonly #workers: readonly ConnectionWorker[];
  readonly #certificates: CertificateManager;
  readonly #xds: XdsClient;
  // The main thread's own copies, for admin; each worker decides by its own.
  readonly #workloads = new WorkloadStore();
  readonly #policies = new PolicyStore();
  readonly #resources = new ConfigStore();
  readonly #servers: Server[] = [];
  readonly #issuers = new Set<string>();
  #listening = 0;
  #hasCertificate = false;
  #draining: Promise<void> | undefined;

  /**
   * @param onFatal a connection worker failed: the program must end with an error
   * @param onQuit admin asked for a graceful end
   */
  constructor(
    config: WaypointConfig,
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
    const { gateway, trustDomain } = config;
    this.#identity = { trustDomain, namespace: gateway.namespace, serviceAccount: gateway.name };
    this.#telemetry = new TelemetryHub({
      log,
      version,
      gateway: `${gateway.namespace}/${gateway.name}`,
      node: config.node,
    });
    this.#flows = new FlowHub({
      hello: {
        ...{ program: 'waypoint', version, node: config.node },
        gateway: `${gateway.namespace}/${gateway.name}`,
      },
      watch: (level) => {
        for (const worker of this.#workers) worker.post({ type: 'watch-flows', level });
      },
    });
    const sessionKey = randomBytes(SESSION_KEY_BYTES);
    const buckets = SharedBuckets.allocate();
    this.#workers = Array.from({ length: config.workers }, (_, n) =>
      this.#startWorker(`connections-${n}`, { sessionKey, buckets }),
    );
    this.#certificates = this.#makeCertificates();
    this.#xds = this.#makeXds();
    this.#addGates();
  }

  /** Opens the ports, then connects to the control plane. @throws Error when a port cannot be used */
  async start(): Promise<void> {
    const { admin, metrics, ready } = this.#config;
    const actions = {
      configDump: () => this.#dump(),
      upstreams: async () =>
        Promise.all(
          this.#workers.map(async (worker) => ({
            worker: worker.name,
            upstreams: await worker.request('upstreams', {}),
          })),
        ),
      flows: this.#flows,
      logLevel: () => this.#log.level,
      setLogLevel: (level: 'debug' | 'info' | 'warn' | 'error') => {
        this.#log.level = level;
        for (const worker of this.#workers) worker.post({ type: 'log-level', level });
      },
      quit: () => this.#onQuit(),
      metrics: (accept?: string) => this.#scrape(accept),
      memory: async (collect: boolean) => {
        const threads = await Promise.all(
          this.#workers.map(
            async (worker) => [worker.name, await worker.request('memory', { collect })] as const,
          ),
        );
        return processMemory({ main: await threadMemory(collect), ...Object.fromEntries(threads) });
      },
      diagnostics: this.#config.diagnostics,
    };
    this.#servers.push(
      await serveRoutes(admin, adminRoutes(actions, this.#readiness)),
      await serveRoutes(metrics, { 'GET /metrics': metricsRoute(actions) }),
      await serveRoutes(ready, { 'GET /healthz/ready': readyRoute(this.#readiness) }),
    );
    this.#certificates.acquire(this.#identity);
    this.#xds.start();
  }

  /** Graceful end: no new connections, time for those that are open, then all is closed. */
  drain(): Promise<void> {
    this.#draining ??= this.#drain();
    return this.#draining;
  }

  /** Cuts what a drain still waits for. */
  hurry(): void {
    for (const worker of this.#workers) worker.post({ type: 'drain', deadlineMs: 0 });
  }

  async #drain(): Promise<void> {
    const deadlineMs = this.#config.drainDeadlineMs;
    this.#log.info({ deadlineMs }, 'draining');
    const cut = await Promise.all(this.#workers.map((worker) => worker.drain(deadlineMs)));
    this.#log.info({ cut }, 'drained');
    await this.#xds.stop();
    this.#certificates.stop();
    await this.#telemetry.close();
    this.#flows.close();
    for (const server of this.#servers) {
      server.close();
      server.closeAllConnections();
    }
    await Promise.all(this.#workers.map((worker) => worker.stop()));
  }

  #startWorker(name: string, shared: Pick<WorkerStart, 'sessionKey' | 'buckets'>): ConnectionWorker {
    const { gateway, node, clusterId, network, trustDomain, listen, logLevel } = this.#config;
    const { maxTunnels, maxConnections, workerHeapMb, memoryLimitMb } = this.#config;
    const { metrics } = this.#telemetry;
    return startWorker(
      name,
      {
        gateway,
        node,
        clusterId,
        network,
        trustDomain,
        listen,
        logLevel,
        maxTunnels,
        maxConnections,
        memoryLimit: memoryLimitMb * 2 ** 20,
        ...shared,
      },
      workerHeapMb,
      {
        own: {
          listening: () => (this.#listening += 1),
          telemetry: ({ batch }) => this.#telemetry.apply(name, batch),
          flows: ({ batch }) => this.#flows.apply(batch),
        },
        status: (status) => {
          metrics.workerStatus(name, status);
          this.#noteKeys(status);
        },
        log: (level, message, fields) => this.#log[level](fields, message),
        certificateWanted: () => this.#certificates.prioritize(this.#identity),
        stalled: (stalled) => {
          if (stalled) {
            metrics.workerStalled(name);
            this.#log.error({ worker: name }, 'a connection worker is stalled: its connections stand still');
          } else this.#log.warn({ worker: name }, 'the connection worker goes on');
        },
        failed: (error) => this.#onFatal(error),
      },
    );
  }

  /** Workers follow the same issuers; whichever reports last speaks for all. */
  #noteKeys({ jwks }: WorkerStatus): void {
    const { metrics } = this.#telemetry;
    const gone = new Set(this.#issuers);
    for (const { uri, keys, stale } of jwks) {
      metrics.jwks(uri, { keys, stale });
      this.#issuers.add(uri);
      gone.delete(uri);
    }
    for (const uri of gone) {
      metrics.jwks(uri, undefined);
      this.#issuers.delete(uri);
    }
  }

  #makeCertificates(): CertificateManager {
    const { ca, clusterId, certTtlSeconds } = this.#config;
    const manager = new CertificateManager({
      ca: new IstioCaClient({ ...ca, clusterId }),
      rootFile: ca.rootFile,
      log: this.#log,
      ttlSeconds: certTtlSeconds,
      onExpiryChange: (identity, seconds) => this.#telemetry.metrics.certificateExpiry(identity, seconds),
    });
    manager.onCertificate((bundle) => {
      this.#hasCertificate = true;
      for (const worker of this.#workers) worker.post({ type: 'certificate', bundle });
    });
    manager.onRemoved((identity) => {
      this.#hasCertificate = false;
      for (const worker of this.#workers)
        worker.post({ type: 'certificate-gone', identity: spiffeUri(identity) });
    });
    return manager;
  }

  #makeXds(): XdsClient {
    const { gateway, clusterId, network, xds, node, trustDomain } = this.#config;
    const { namespace, name } = gateway;
    return new XdsClient({
      ...xds,
      clusterId,
      node: {
        id: `waypoint~0.0.0.0~${name}.${namespace}~${namespace}.svc.${trustDomain}`,
        metadata: { NODE_NAME: node, CLUSTER_ID: clusterId, NETWORK: network, NAMESPACE: namespace },
      },
      onAddresses: (delta) => {
        this.#workloads.apply(delta);
        for (const worker of this.#workers) worker.post({ type: 'addresses', delta });
      },
      onPolicies: (delta) => {
        this.#policies.apply(delta);
        for (const worker of this.#workers) worker.post({ type: 'policies', delta });
      },
      more: [
        new Subscription<NamedResource>({
          typeUrl: RESOURCE_TYPE,
          decode: (resource, bytes) => {
            try {
              return decodeResource(resource, bytes);
            } catch (error) {
              this.#telemetry.metrics.configRejected(resource.split('/', 1)[0] ?? '');
              throw error;
            }
          },
          apply: (delta) => {
            this.#resources.apply(delta);
            this.#applySettings();
            for (const worker of this.#workers) worker.post({ type: 'resources', delta });
          },
        }),
      ],
      onReady: () => {
        for (const worker of this.#workers) worker.post({ type: 'first-state' });
        this.#log.info({}, 'xds: first state is in force');
      },
      onDisconnect: () => this.#telemetry.metrics.xdsDisconnected(),
      log: this.#log,
    });
  }

  #applySettings(): void {
    const counts = new Map<string, number>();
    for (const resource of this.#resources.names()) {
      const kind = resource.split('/', 1)[0] ?? '';
      counts.set(kind, (counts.get(kind) ?? 0) + 1);
    }
    for (const [kind, count] of counts) this.#telemetry.metrics.configResources(kind, count);
    const { otlpEndpoint = '', sampling = 0 } = this.#resources.settings?.tracing ?? {};
    try {
      this.#telemetry.configure({ otlpEndpoint, sampling });
    } catch (error) {
      this.#log.error({ error: errorText(error) }, 'tracing settings cannot be used; the former ones stay');
    }
  }

  #addGates(): void {
    for (const [typeUrl, name] of XDS_GATES) {
      this.#readiness.add(name, () => {
        const status = this.#xds.status();
        const ready = status.types.find((type) => type.typeUrl === typeUrl)?.ready === true;
        const offline = status.connected ? undefined : (status.lastError ?? 'connecting');
        if (!ready) return { ready, reason: offline ?? 'waiting for the first response' };
        return { ready, reason: offline === undefined ? 'in force' : `last state in force; ${offline}` };
      });
    }
    this.#readiness.add('certificate', () => ({
      ready: this.#hasCertificate,
      reason: this.#hasCertificate ? 'valid' : `waiting for ${spiffeUri(this.#identity)}`,
    }));
    this.#readiness.add('listening', () => ({
      ready: this.#listening === this.#workers.length,
      reason: `${this.#listening} of ${this.#workers.length} workers listen`,
    }));
    this.#readiness.add('draining', () => ({
      ready: this.#draining === undefined,
      reason: this.#draining !== undefined ? 'asked to end' : 'no',
    }));
  }

  #dump(): object {
    return configDump({
      config: this.#config,
      version: this.#version,
      identity: this.#identity,
      resources: this.#resources,
      workloads: this.#workloads,
      policies: this.#policies,
      xds: this.#xds.status(),
      certificates: this.#certificates.snapshot(),
    });
  }

  async #scrape(accept: string | undefined): Promise<MetricsPage> {
    this.#telemetry.metrics.gates(this.#readiness.report().gates);
    this.#telemetry.metrics.xdsConnected(this.#xds.status().connected);
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<undefined>((resolve) => {
      timer = setTimeout(() => resolve(undefined), SCRAPE_WAIT_MS);
    });
    // Batches that come after the wait are counted all the same.
    const flushed = Promise.all(
      this.#workers.map((worker) => worker.request('flush', {}).catch(() => undefined)),
    );
    await Promise.race([flushed, late]);
    clearTimeout(timer);
    return this.#telemetry.metrics.page(accept);
  }
}
