import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'mocha';
import { Driver } from '../mesh/driver.ts';
import { eventually, Mesh } from '../mesh/harness.ts';
import { backend, httpRoute, object, WAY_BASE, wayServer, wayService } from '../mesh/waypoint-manifests.ts';
import {
  filledIn,
  MONITORING,
  namesIn,
  panelQueries,
  ruleQueries,
  variableQueries,
  yamlFiles,
} from '../support/dashboards.ts';
import { PATIENCE } from '../support/patience.ts';
import { Prometheus, prometheusPrograms, promtool } from '../support/prometheus.ts';
import { ScrapedMesh } from './scraped-mesh.ts';

const RULES = join(MONITORING, 'rules');
const FETCH_AND_START_MS = 600_000;
const NODES = ['node-a', 'node-b'];
const PATHS = ['/a', '/status?code=503', '/secret', '/flaky'];
/** What a user would have chosen in Grafana. */
const CHOSEN = { namespace: 'm', service: 'web', workload: 'client', node: '.*' };

/** Only an agent that has the Kubernetes API shows these. */
const KUBERNETES_ONLY = new Set([
  'loam_agent_pods_held_total',
  'loam_agent_pods_held_seconds_total',
  'loam_agent_nri_connected',
  'loam_agent_cni_holds',
]);
/** Empty of plain HTTP, and to Prometheus an empty label is none. */
const EMPTY_LABELS = new Set(['grpc_response_status']);
/** Names that Istio gave, which promtool would have otherwise. */
const ISTIO_NAMES = /^istio_(active|pending)_proxy_count_total |^istio_request_duration_milliseconds /;
/** Prometheus' own. */
const OWN = new Set(['up', 'ALERTS']);

describe("promtool of the distribution, on Loam's rules", function () {
  this.timeout(300_000 * PATIENCE);

  before(async function () {
    this.timeout(FETCH_AND_START_MS);
    await prometheusPrograms();
  });

  it('accepts them', async () => {
    const { code, output } = await promtool(['check', 'rules', ...yamlFiles(RULES)]);
    assert.equal(code, 0, output);
  });

  it('passes their tests', async () => {
    const { code, output } = await promtool(['test', 'rules', ...yamlFiles(join(RULES, 'tests'))]);
    assert.equal(code, 0, output);
    assert.doesNotMatch(output, /FAILED/);
  });
});

describe('Prometheus of the distribution, on a mesh with traffic', function () {
  this.timeout(300_000 * PATIENCE);
  let folder: string;
  let mesh: Mesh;
  let client: Driver;
  let scraped: ScrapedMesh;
  let prometheus: Prometheus;
  let traffic = true;
  let sending: Promise<void> | undefined;

  before(async function () {
    this.timeout(FETCH_AND_START_MS);
    await prometheusPrograms();
    folder = mkdtempSync(join(tmpdir(), 'loam-prometheus-'));
    mesh = await Mesh.up({
      ...WAY_BASE,
      'v1.yaml': wayServer('v1', { run: 'web', version: 'one' }),
      'web.yaml': wayService('web', {
        waypoint: 'way',
        selector: { run: 'web' },
        ports: { 80: [8080, 'http'], 83: [9090, 'grpc'], 7000: [7000, 'tcp'], 85: [9999, 'http'] },
      }),
      'plain.yaml': wayService('plain', {
        selector: { run: 'web' },
        ports: { 81: [8080, 'http'], 82: 9998 },
      }),
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
    });
    client = await Driver.in(mesh, 'client');
    scraped = new ScrapedMesh(mesh, NODES, { namespace: 'm', name: 'way' });
    const config = await scraped.configuration(join(folder, 'targets'));
    prometheus = await Prometheus.start(join(folder, 'prometheus'), config);
    sending = send();
  });
  after(async () => {
    traffic = false;
    await sending;
    client?.stop();
    await prometheus?.stop();
    await scraped?.[Symbol.asyncDispose]();
    await mesh?.down();
    rmSync(folder, { recursive: true, force: true });
  });

  /** A little of everything, until the end. */
  async function send(): Promise<void> {
    for (let i = 0; traffic; i += 1) {
      const path = PATHS[i % PATHS.length] ?? '/';
      await client.request({ host: 'web', port: 80, path }).catch(() => undefined);
      if (i % 4 === 0)
        await client.request({ host: 'plain', port: 81, path: '/direct' }).catch(() => undefined);
      if (i % 8 === 0) {
        await client.request({ host: 'web', port: 85, path: '/dead' }).catch(() => undefined);
        await client.request({ host: 'plain', port: 82, path: '/dead' }).catch(() => undefined);
      }
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
  }

  it('finds all programs by the scrape configuration, nobody else, and all are up', async () => {
    const targets = await eventually('all targets to be up', async () => {
      const all = await prometheus.targets();
      return all.length > 0 && all.every(({ health }) => health === 'up') && all;
    });
    assert.deepEqual(
      targets
        .map(({ labels }) => `${labels['job']} ${labels['namespace']}/${labels['pod']} ${labels['node']}`)
        .sort(),
      [
        'loam-agent loam-system/loam-ztunnel-node-a node-a',
        'loam-agent loam-system/loam-ztunnel-node-b node-b',
        'loam-controller loam-system/loam-controller-1 node-a',
        'loam-waypoint m/way-1 node-a',
        'loam-ztunnel loam-system/loam-ztunnel-node-a node-a',
        'loam-ztunnel loam-system/loam-ztunnel-node-b node-b',
      ],
    );
    assert.equal(targets.find(({ labels }) => labels['job'] === 'loam-waypoint')?.labels['gateway'], 'way');
  });

  it('has every metric that dashboards and rules ask for, with every label that they name', async () => {
    await prometheus.query('1');
    const known = new Set(Object.keys((await prometheus.api('metadata', {})) as object));
    const missing: string[] = [];
    for (const { where, expr } of [...panelQueries(), ...variableQueries(), ...ruleQueries()]) {
      const { metrics, labels } = namesIn(expr);
      const present = new Set<string>();
      let silent = false;
      for (const metric of metrics) {
        if (OWN.has(metric) || metric.includes(':')) {
          silent = true;
          continue;
        }
        const family = metric.replace(/_(bucket|sum|count)$/, '');
        if (!known.has(metric) && !known.has(family) && !KUBERNETES_ONLY.has(metric))
          missing.push(`${where}: ${metric}`);
        const names = (await prometheus.api('labels', { 'match[]': metric })) as string[];
        // Nothing happened yet that it counts: which labels it has is known by the reference alone.
        if (names.length === 0) silent = true;
        for (const name of names) present.add(name);
      }
      if (!silent)
        for (const label of labels)
          if (!present.has(label) && !EMPTY_LABELS.has(label))
            missing.push(`${where}: label ${label} of ${expr}`);
    }
    assert.deepEqual(missing, []);
    const names = await prometheus.names();
    console.log(
      `      ${names.length} metrics, of them ${names.filter((n) => /^(istio|loam)_/.test(n)).length} of the mesh:`,
    );
    console.log(`      ${names.filter((name) => /^(istio|loam|service:|instance:)/.test(name)).join(' ')}`);
  });

  it('accepts every query of dashboards and rules', async () => {
    for (const { expr } of [...panelQueries(), ...variableQueries(), ...ruleQueries()])
      await prometheus.query(filledIn(expr, CHOSEN));
  });

  it('shows the numbers of the mesh: who asks whom, with what result', async () => {
    const [sample] = await eventually('refused requests', async () => {
      const found = await prometheus.query(
        'sum by (source_workload, destination_service_name, response_flags) (istio_requests_total{response_code="403"})',
      );
      return found.length > 0 && found;
    });
    assert.deepEqual(sample?.metric, {
      source_workload: 'client',
      destination_service_name: 'web',
      response_flags: 'DENY',
    });
    const pods = await prometheus.query('sum(loam_agent_pods{state="verified"})');
    assert.equal(pods[0]?.value[1], '2');
  });

  for (const [program, path] of [
    ['controller', '/metrics'],
    ['ztunnel', '/metrics'],
    ['ztunnel', '/agent/metrics'],
    ['waypoint', '/metrics'],
  ] as const) {
    it(`reads ${path} of the ${program} as promtool does, which finds no fault with our names`, async () => {
      const { code, output } = await promtool(['check', 'metrics'], await scraped.page(program, path));
      const ours = output
        .split('\n')
        .filter((line) => /^(istio|loam)_/.test(line) && !ISTIO_NAMES.test(line));
      assert.deepEqual(ours, [], output);
      // 3: it would have named something otherwise, in what prom-client calls its own.
      assert.ok(code === 0 || code === 3, output);
    });
  }
});
