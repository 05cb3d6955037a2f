import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'mocha';
import { HISTORY_RANGES, PrometheusHistory } from '../../cli/web/prometheus.ts';
import { PATIENCE } from '../support/patience.ts';
import { Prometheus, prometheusPrograms, promtool } from '../support/prometheus.ts';

const FETCH_AND_START_MS = 600_000;
const WEEK_MS = HISTORY_RANGES.at(-1) ?? 0;
const SERVICE = 'destination_service_namespace="shop",destination_service_name="web"';
const DATABASE = SERVICE.replace('web', 'db');
const RATE = 4;
const EVERY_S = 60;
/** As the dashboard asks for a week. */
const STEP_S = 5_040;
const OUTAGE_S = 1_200;

describe('a week of a Service, in Prometheus of the distribution', function () {
  this.timeout(300_000 * PATIENCE);
  // On a boundary of the scrapes below.
  const now = Math.floor(Date.now() / (EVERY_S * 1_000)) * EVERY_S * 1_000;
  /** Well between two points of a week's line, so that none of them is near it. */
  const outage = (now - WEEK_MS) / 1_000 + 60 * STEP_S + 1_800;
  let folder: string;
  let prometheus: Prometheus;
  let history: PrometheusHistory;

  before(async function () {
    this.timeout(FETCH_AND_START_MS);
    await prometheusPrograms();
    folder = mkdtempSync(join(tmpdir(), 'loam-history-'));
    const past = join(folder, 'past.om');
    writeFileSync(past, pastOf(now / 1_000, outage));
    const data = join(folder, 'data');
    mkdirSync(data);
    const made = await promtool(['tsdb', 'create-blocks-from', 'openmetrics', past, data]);
    assert.equal(made.code, 0, made.output);
    prometheus = await Prometheus.start(folder, { global: {}, scrape_configs: [] });
    history = new PrometheusHistory(prometheus.url);
  });
  after(async () => {
    await prometheus?.stop();
    rmSync(folder, { recursive: true, force: true });
  });

  it('has a point for each step of each length', async () => {
    for (const range of HISTORY_RANGES) {
      const points = await history.of('shop/web', range, now);
      assert.equal(points.length, 121, `${range} ms`);
      assert.equal(points[0]?.at, now - range);
      assert.equal(points.at(-1)?.at, now);
      for (const { rate, p50, p95 } of points) {
        near(rate, RATE, 1e-9);
        assert.ok(p50 !== undefined && p95 !== undefined && p50 <= p95);
      }
    }
  });

  it('has connections of a Service without a waypoint, those that failed too', async () => {
    for (const range of HISTORY_RANGES) {
      const points = await history.of('shop/db', range, now);
      assert.equal(points.length, 121, `${range} ms`);
      for (const { rate, failed, p50 } of points) {
        near(rate, 2, 1e-9);
        near(failed, 1, 1e-9);
        assert.equal(p50, undefined);
      }
    }
  });

  it('shows an outage that lies between two of them', async () => {
    const query = `service:istio_request_errors:rate5m{${SERVICE}}`;
    const times = { start: String((now - WEEK_MS) / 1_000), end: String(now / 1_000), step: String(STEP_S) };
    const { result } = (await prometheus.api('query_range', { query, ...times })) as {
      result: { values: [number, string][] }[];
    };
    assert.deepEqual(
      [...new Set(result[0]?.values.map(([, value]) => value))],
      ['0'],
      'the series itself, asked for at these times, has nothing of it',
    );
    const points = await history.of('shop/web', WEEK_MS, now);
    const failing = points.filter(({ failed }) => failed > 0);
    assert.deepEqual(
      failing.map(({ at }) => at),
      [now - WEEK_MS + 61 * STEP_S * 1_000],
    );
    const [point] = failing;
    near(point?.failed ?? 0, (RATE * OUTAGE_S) / STEP_S, RATE * (EVERY_S / STEP_S) * 2);
    assert.ok((point?.p95 ?? 0) > 1_000, 'and what it took');
    assert.ok((points[0]?.p95 ?? 0) < 100);
  });
});

function near(actual: number, expected: number, by: number): void {
  assert.ok(Math.abs(actual - expected) <= by, `${actual} is not within ${by} of ${expected}`);
}

/** What the recording rules would have made: all is well but for one outage, in which requests are slow and fail. */
function pastOf(nowS: number, outageS: number): string {
  const from = nowS - (WEEK_MS / 1_000 + 2 * STEP_S);
  const isOutage = (at: number): boolean => at >= outageS && at < outageS + OUTAGE_S;
  const series: [name: string, labels: string, valueAt: (at: number) => number][] = [
    ['service:istio_tcp_connections_opened:rate5m', DATABASE, () => 2],
    ['service:istio_tcp_connections_failed:rate5m', DATABASE, () => 1],
    ['service:istio_requests:rate5m', SERVICE, () => RATE],
    ['service:istio_request_errors:rate5m', SERVICE, (at) => (isOutage(at) ? RATE : 0)],
    ...['10', '100', '5000', '+Inf'].map((le): (typeof series)[number] => [
      'service:istio_request_duration_milliseconds_bucket:rate5m',
      `${SERVICE},le="${le}"`,
      (at) => (isOutage(at) && ['10', '100'].includes(le) ? 0 : RATE),
    ]),
  ];
  const lines: string[] = [];
  for (const name of new Set(series.map(([each]) => each))) {
    lines.push(`# TYPE ${name} unknown`);
    for (const [, labels, valueAt] of series.filter(([each]) => each === name))
      for (let at = from; at <= nowS; at += EVERY_S) lines.push(`${name}{${labels}} ${valueAt(at)} ${at}`);
  }
  return `${lines.join('\n')}\n# EOF\n`;
}
