import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Driver } from '../mesh/driver.ts';
import { Mesh } from '../mesh/harness.ts';
import { gatewayManifest, podManifest } from '../mesh/manifests.ts';
import { backend, httpRoute, object, WAY_BASE, wayServer, wayService } from '../mesh/waypoint-manifests.ts';
import { OtelCollector } from '../support/otel-collector.ts';
import { Prometheus } from '../support/prometheus.ts';
import { ScrapedMesh } from './scraped-mesh.ts';

const NODES = ['node-a', 'node-b'];
/** Inside the waypoint's own network namespace. */
const COLLECTOR = { ip: '127.0.0.1', port: 4318 } as const;
const PAUSE_MS = 100;
/** A trace whose client decided that nobody records it. */
export const UNSAMPLED = { trace: '463ac35c9f6413ad48485a3953bb6124', span: 'a2fb4a1d1a96d312' } as const;
/** What no client should send as its trace. */
const HOSTILE = ['00-"} 1 # EOF-a2fb4a1d1a96d312-01', '\u00ff\u00fe\u0080', `00-${'a'.repeat(5_000)}-01`];

/** How a user's choices in Grafana can be: between them they have all that is sent here. */
export const CHOICES = [
  { service: 'web', workload: 'client' },
  { service: 'plain', workload: 'v3' },
  { service: 'fallback', workload: 'caged' },
  { service: 'circuit', workload: 'v1' },
  { service: 'limit', workload: 'v1' },
  { service: 'outlier', workload: 'v2' },
].map((each) => ({ ...each, namespace: 'm', node: '.*' }));

/** Services behind the waypoint, each with one policy; `web` beside. */
const POLICIES: Readonly<Record<string, object>> = {
  fallback: { fallback: { service: 'plain', port: 81, conditions: ['connect-failure', 'gateway-error'] } },
  circuit: { circuitBreaker: { maxRequests: 1 } },
  limit: { rateLimit: { rules: [{ requests: 5, per: '1h' }] } },
  outlier: {
    outlierDetection: { consecutiveErrors: 3, baseEjection: '1h', maxEjection: '1h', maxEjectedPercent: 50 },
  },
};

function manifests(): Record<string, string> {
  return {
    ...WAY_BASE,
    'gateway.yaml': gatewayManifest('way', {
      'loam.dev/otlp-endpoint': `http://${COLLECTOR.ip}:${COLLECTOR.port}`,
      'loam.dev/trace-sampling': '1',
    }),
    'v1.yaml': wayServer('v1', { run: 'web', version: 'one', both: 'yes' }),
    'v2.yaml': wayServer('v2', { run: 'other', both: 'yes' }),
    'v3.yaml': wayServer('v3', { run: 'plain' }),
    'caged.yaml': podManifest('caged'),
    'web.yaml': wayService('web', {
      waypoint: 'way',
      selector: { run: 'web' },
      ports: { 80: [8080, 'http'], 83: [9090, 'grpc'], 7000: [7000, 'tcp'], 85: [9999, 'http'] },
    }),
    'plain.yaml': wayService('plain', {
      selector: { run: 'plain' },
      ports: { 81: [8080, 'http'], 82: 9998 },
    }),
    'services.yaml': Object.keys(POLICIES)
      .map((name) =>
        wayService(name, {
          waypoint: 'way',
          selector: name === 'outlier' ? { both: 'yes' } : { run: 'web' },
          // Nobody listens at 8099.
          ports: { 80: [name === 'fallback' ? 8099 : 8080, 'http'] },
        }),
      )
      .join('---\n'),
    'route.yaml': httpRoute('web', 'web', [{ backendRefs: [backend('web')] }], { port: 80 }),
    'policy.yaml': object('AuthorizationPolicy', 'no-secrets', {
      targetRefs: [{ kind: 'Service', group: '', name: 'web' }],
      action: 'DENY',
      rules: [{ to: [{ operation: { paths: ['/secret*'] } }] }],
    }),
    'traffic.yaml': object('TrafficPolicy', 'again', {
      targetRefs: [{ kind: 'Service', name: 'web' }],
      retries: { attempts: 1, conditions: ['gateway-error'] },
    }),
    'policies.yaml': Object.entries(POLICIES)
      .map(([name, spec]) =>
        object('TrafficPolicy', name, { targetRefs: [{ kind: 'Service', name }], ...spec }),
      )
      .join('---\n'),
    'egress.yaml': JSON.stringify({
      ...{ apiVersion: 'loam.dev/v1', kind: 'EgressPolicy', metadata: { name: 'caged', namespace: 'm' } },
      spec: { selector: { matchLabels: { app: 'caged' } }, allow: [{ services: [{ name: 'web' }] }] },
    }),
  };
}

interface Parts {
  readonly scraped: ScrapedMesh;
  readonly prometheus: Prometheus;
  readonly collector: OtelCollector;
}

/** A mesh with a little of every traffic, its Prometheus, and the collector of its waypoint's traces. */
export class MonitoredMesh {
  readonly mesh: Mesh;
  readonly folder = mkdtempSync(join(tmpdir(), 'loam-prometheus-'));
  readonly #client: Driver;
  readonly #caged: Driver;
  #parts: Parts | undefined;
  #goesOn = true;
  #sending: Promise<void> = Promise.resolve();

  private constructor(mesh: Mesh, client: Driver, caged: Driver) {
    this.mesh = mesh;
    this.#client = client;
    this.#caged = caged;
  }

  static async up(): Promise<MonitoredMesh> {
    const mesh = await Mesh.up(manifests());
    const monitored = new MonitoredMesh(
      mesh,
      await Driver.in(mesh, 'client'),
      await Driver.in(mesh, 'caged'),
    );
    try {
      await monitored.#start();
    } catch (error) {
      await monitored.down();
      throw error;
    }
    return monitored;
  }

  get scraped(): ScrapedMesh {
    return this.#started.scraped;
  }

  get prometheus(): Prometheus {
    return this.#started.prometheus;
  }

  get collector(): OtelCollector {
    return this.#started.collector;
  }

  async down(): Promise<void> {
    this.#goesOn = false;
    await this.#sending;
    this.#client.stop();
    this.#caged.stop();
    await this.#parts?.prometheus.stop();
    await this.#parts?.collector.stop();
    await this.#parts?.scraped[Symbol.asyncDispose]();
    await this.mesh.down();
    rmSync(this.folder, { recursive: true, force: true });
  }

  get #started(): Parts {
    if (this.#parts === undefined) throw new Error('not started');
    return this.#parts;
  }

  async #start(): Promise<void> {
    const netns = this.mesh.netns({ kind: 'waypoint', namespace: 'm', name: 'way', index: 0 });
    const collector = await OtelCollector.start({
      ...{ folder: join(this.folder, 'collector'), netns, listen: COLLECTOR },
    });
    const scraped = new ScrapedMesh(this.mesh, NODES, { namespace: 'm', name: 'way' });
    const config = await scraped.configuration(join(this.folder, 'targets'));
    const prometheus = await Prometheus.start(join(this.folder, 'prometheus'), config);
    this.#parts = { scraped, prometheus, collector };
    this.#sending = this.#send();
  }

  /** A little of everything, until the end. What becomes of it is for Prometheus to tell. */
  async #send(): Promise<void> {
    const [client, caged] = [this.#client, this.#caged];
    const once = (host: string, port: number, path: string, headers: Record<string, string> = {}) =>
      client.request({ host, port, path, headers });
    const steps: (() => Promise<unknown>)[] = [
      () => once('web', 80, '/a'),
      () => once('web', 80, '/status?code=503'),
      () => once('web', 80, '/secret'),
      () => once('web', 80, '/flaky?of10=5'),
      () => once('web', 80, '/a', { traceparent: `00-${UNSAMPLED.trace}-${UNSAMPLED.span}-00` }),
      ...HOSTILE.map(
        (text) => () => once('web', 80, '/a', { traceparent: text, tracestate: text, b3: text }),
      ),
      () => client.grpc({ host: 'web', port: 83, kind: 'unary', messages: ['a'] }),
      () => client.tcp('web', 7000, 1_000),
      () => once('web', 85, '/dead'),
      () => client.request({ host: 'plain', port: 81, path: '/direct', fresh: true }),
      () => once('plain', 82, '/dead'),
      () => once('fallback', 80, '/'),
      () => once('limit', 80, '/'),
      () => once('outlier', 80, '/bad-on?pod=v2'),
      () => client.burst({ host: 'circuit', port: 80, path: '/a', n: 20, sockets: 10 }),
      () => caged.request({ host: 'plain', port: 81, path: '/' }),
    ];
    for (let round = 0; this.#goesOn; round += 1) {
      // Something to compile, which nobody asks for.
      this.mesh.write(
        'pulse.yaml',
        wayService('pulse', { selector: {}, ports: { 80: 8_000 + (round % 2) } }),
      );
      for (const step of steps) {
        await step().catch(() => undefined);
        await new Promise((resolve) => setTimeout(resolve, PAUSE_MS));
        if (!this.#goesOn) return;
      }
    }
  }
}
