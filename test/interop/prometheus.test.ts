import assert from 'node:assert/strict';
import { join } from 'node:path';
import { after, before, describe, it } from 'mocha';
import { HISTORY_RANGES } from '../../cli/web/prometheus.ts';
import type { Point } from '../../lib/flow/view.ts';
import { eventually, loam } from '../mesh/harness.ts';
import {
  filledIn,
  MONITORING,
  namesIn,
  type NamedQuery,
  panelQueries,
  ruleQueries,
  variableQueries,
  yamlFiles,
} from '../support/dashboards.ts';
import { buildCollector, type ReceivedSpan } from '../support/otel-collector.ts';
import { PATIENCE } from '../support/patience.ts';
import { type Prometheus, prometheusPrograms, promtool } from '../support/prometheus.ts';
import { CHOICES, MonitoredMesh, UNSAMPLED } from './monitored-mesh.ts';

const RULES = join(MONITORING, 'rules');
const BUILD_AND_START_MS = 900_000;
/** What a user would have chosen in Grafana. */
const CHOSEN = { namespace: 'm', service: 'web', workload: 'client', node: '.*' };
const PLAIN = 'text/plain; version=0.0.4';
const OPEN_METRICS = 'application/openmetrics-text; version=1.0.0';
/** As Prometheus asks. */
const AS_PROMETHEUS = 'application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5,*/*;q=0.1';

const KUBERNETES = 'only with the Kubernetes API';
const NOTHING = 'it did not happen';
/** Metrics, and panels, that have no data here, with the reason. */
const WITHOUT_DATA: Readonly<Record<string, string>> = {
  loam_agent_pods_held_total: KUBERNETES,
  loam_agent_pods_held_seconds_total: KUBERNETES,
  loam_controller_authentications_total: KUBERNETES,
  loam_controller_token_reviews_total: KUBERNETES,
  loam_controller_writes_total: KUBERNETES,
  loam_controller_xds_refusals_total: `${NOTHING}: a client that refuses its configuration`,
  loam_waypoint_config_rejections_total: `${NOTHING}: a waypoint that refuses its configuration`,
  istio_xds_connection_terminations_total: `${NOTHING}: a controller that ends`,
  loam_waypoint_spans_total: `${NOTHING}: a span that is lost`,
  loam_connections_refused_total: `${NOTHING}: a peer that is refused before it is known`,
  loam_agent_guard_dropped_packets_total: `${NOTHING}: a pod that goes around the mesh`,
  loam_agent_repairs_total: `${NOTHING}: somebody who takes the kernel part away`,
  'node: Pods that are not guarded': `${NOTHING}: all are`,
};

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

function isExcused({ where, expr }: NamedQuery): boolean {
  return [where, ...namesIn(expr).metrics].some((each) => Object.hasOwn(WITHOUT_DATA, each));
}

describe("promtool of the distribution, on Loam's rules", function () {
  this.timeout(300_000 * PATIENCE);

  before(async function () {
    this.timeout(BUILD_AND_START_MS);
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
  let monitored: MonitoredMesh;
  let prometheus: Prometheus;

  before(async function () {
    this.timeout(BUILD_AND_START_MS);
    buildCollector();
    await prometheusPrograms();
    monitored = await MonitoredMesh.up();
    prometheus = monitored.prometheus;
  });
  after(async () => monitored?.down());

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
        // In OpenMetrics a counter's family has no _total.
        const family = metric.replace(/_(bucket|sum|count|total)$/, '');
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
    await eventually('an ejected endpoint, and the alert that waits whether it stays so', async () => {
      const service = 'service="m/outlier.m.svc.cluster.local"';
      const ejected = await prometheus.query(`sum(loam_waypoint_ejected_endpoints{${service}}) == 1`);
      const alert = await prometheus.query(`ALERTS{alertname="LoamEndpointsEjected", ${service}}`);
      return ejected.length === 1 && alert[0]?.metric['alertstate'] === 'pending';
    });
    const pods = await prometheus.query('sum(loam_agent_pods{state="verified"})');
    assert.equal(pods[0]?.value[1], '5');
  });

  it('gives data for each query of each panel', async () => {
    const queries = panelQueries();
    const known = new Set(queries.flatMap(({ where, expr }) => [where, ...namesIn(expr).metrics]));
    for (const excused of Object.keys(WITHOUT_DATA)) assert.ok(known.has(excused), `${excused} is asked for`);
    let empty: string[] = [];
    const look = async (): Promise<boolean> => {
      empty = [];
      for (const query of queries)
        if (!isExcused(query) && !(await hasData(query.expr))) empty.push(`${query.where}: ${query.expr}`);
      return empty.length === 0;
    };
    await eventually('data for each panel', look).catch(() => undefined);
    assert.deepEqual(empty, []);
  });

  /** Whether a query has a number, with something that a user may have chosen. */
  async function hasData(expr: string): Promise<boolean> {
    for (const filled of new Set(CHOICES.map((chosen) => filledIn(expr, chosen)))) {
      const found = await prometheus.query(filled);
      if (found.some(({ value }) => value[1] !== 'NaN')) return true;
    }
    return false;
  }

  it('reads OpenMetrics, with units, of all that offer it', async () => {
    const metadata = (await prometheus.api('metadata', {})) as Record<string, readonly { unit: string }[]>;
    for (const [family, unit] of [
      ['istio_request_duration_milliseconds', 'milliseconds'],
      ['istio_tcp_sent_bytes', 'bytes'],
      ['loam_controller_compile_seconds', 'seconds'],
    ] as const)
      assert.deepEqual([...new Set(metadata[family]?.map((each) => each.unit))], [unit], family);
    for (const [program, path, type] of [
      ['waypoint', '/metrics', OPEN_METRICS],
      ['ztunnel', '/metrics', OPEN_METRICS],
      ['controller', '/metrics', OPEN_METRICS],
      ['ztunnel', '/agent/metrics', PLAIN],
    ] as const) {
      const page = await monitored.scraped.page(program, path, AS_PROMETHEUS);
      assert.ok(page.type.startsWith(type), `${program} ${path}: ${page.type}`);
      assert.equal(page.text.endsWith('\n# EOF\n'), type === OPEN_METRICS);
    }
  });

  it('has for the durations of each panel that shows them traces that a collector received', async () => {
    const panels = panelQueries().filter(({ exemplar }) => exemplar);
    assert.deepEqual(
      panels.map(({ where }) => where),
      ['service: Duration', 'workload: Duration'],
    );
    for (const { where, expr } of panels) {
      const found = await eventually(`exemplars of ${where}`, async () => {
        const series = await prometheus.exemplars(filledIn(expr, { ...CHOSEN, workload: 'v1' }));
        return series.length > 0 && series;
      });
      const shown = found.flatMap(({ seriesLabels, exemplars }) =>
        exemplars.map(({ labels, value }) => ({ labels, ms: Number(value), of: seriesLabels })),
      );
      const isOf = (labels: Readonly<Record<string, string>>, span: ReceivedSpan): boolean =>
        span.traceId === labels['trace_id'] && span.spanId === labels['span_id'];
      const received = await monitored.collector.waitFor(`all traces of ${where}`, (spans) =>
        shown.every(({ labels }) => spans.some((span) => isOf(labels, span))),
      );
      for (const { labels, ms, of } of shown) {
        const span = received.find((each) => isOf(labels, each));
        assert.ok(span);
        assert.equal(span.kind, 'server');
        assert.ok(Math.abs(Number(span.end - span.start) / 1e6 - ms) < 0.01, 'of that very request');
        assert.equal(String(span.attributes['http.response.status_code']), of['response_code']);
        assert.equal(span.attributes['loam.source.workload'], of['source_workload']);
        assert.ok(ms <= Number(of['le']), `${ms} in the bucket ${of['le']}`);
      }
    }
  });

  it('has no exemplar of what is not sampled, and goes on reading whatever clients call their traces', async () => {
    const all = await prometheus.exemplars('istio_request_duration_milliseconds_bucket');
    const ids = all.flatMap(({ exemplars }) => exemplars.map(({ labels }) => labels['trace_id'] ?? ''));
    assert.ok(ids.length > 0);
    for (const id of ids) assert.match(id, /^[0-9a-f]{32}$/);
    assert.ok(!ids.includes(UNSAMPLED.trace));
    for (const { labels, health, lastError } of await prometheus.targets())
      assert.deepEqual([health, lastError], ['up', ''], labels['job'] ?? '');
  });

  it('is the history that `loam dashboard --prometheus` shows of a Service', async () => {
    const dashboard = loam('dashboard', '--name', monitored.mesh.name, '--prometheus', prometheus.url);
    try {
      let said = '';
      for (const stream of [dashboard.stdout, dashboard.stderr])
        stream?.on('data', (part: Buffer) => (said += part.toString()));
      const address = await eventually('its address', () => /http:\/\/\S+/.exec(said)?.[0]);
      const page = new URL(address);
      const headers = { authorization: `Bearer ${page.hash.slice('#token='.length)}` };
      const ask = async (service: string, rangeMs: number): Promise<Response> => {
        const query = new URLSearchParams({ service, range: String(rangeMs) });
        return fetch(new URL(`/api/history?${query.toString()}`, page), { headers });
      };
      const newest = async (service: string, rangeMs: number): Promise<Point> =>
        eventually(`${service} of ${rangeMs} ms`, async () => {
          const points = (await (await ask(service, rangeMs)).json()) as Point[];
          const point = points.at(-1);
          return point !== undefined && point.rate > 0 && point;
        });
      for (const range of HISTORY_RANGES) {
        const web = await newest('m/web', range);
        assert.ok(web.failed > 0 && web.failed < web.rate, JSON.stringify(web));
        assert.ok(web.p50 !== undefined && web.p95 !== undefined && web.p50 <= web.p95, JSON.stringify(web));
      }
      const nobody = await ask('m/nobody', HISTORY_RANGES[0] ?? 0);
      assert.equal(nobody.status, 502);
      assert.match(await nobody.text(), /has nothing of m\/nobody/);
    } finally {
      dashboard.kill();
    }
  });

  for (const [program, path] of [
    ['controller', '/metrics'],
    ['ztunnel', '/metrics'],
    ['ztunnel', '/agent/metrics'],
    ['waypoint', '/metrics'],
  ] as const) {
    it(`reads ${path} of the ${program} as promtool does, which finds no fault with our names`, async () => {
      const { type, text } = await monitored.scraped.page(program, path, '*/*');
      assert.ok(type.startsWith(PLAIN), type);
      const { code, output } = await promtool(['check', 'metrics'], text);
      const ours = output
        .split('\n')
        .filter((line) => /^(istio|loam)_/.test(line) && !ISTIO_NAMES.test(line));
      assert.deepEqual(ours, [], output);
      // 3: it would have named something otherwise, in what prom-client calls its own.
      assert.ok(code === 0 || code === 3, output);
    });
  }
});
