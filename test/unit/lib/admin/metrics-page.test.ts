import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { Counter, Gauge, Histogram, Registry } from 'prom-client';
import { metricsPage, wantsOpenMetrics } from '../../../../lib/admin/metrics-page.ts';
import { openMetricsText } from '../../../../lib/admin/openmetrics.ts';

/** As Prometheus 2 and 3 ask. */
const PROMETHEUS_2 =
  'application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1';
const PROMETHEUS_3 =
  'application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,application/openmetrics-text;version=0.0.1;q=0.4,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.3,text/plain;version=0.0.4;q=0.2,*/*;q=0.1';

describe('lib/admin: the format of a page of metrics', () => {
  it('is OpenMetrics for who names it and likes it no less', () => {
    for (const accept of [
      PROMETHEUS_2,
      PROMETHEUS_3,
      'application/openmetrics-text',
      'Application/OpenMetrics-Text; Version="1.0.0"; charset=utf-8',
      'text/plain;q=0.5, application/openmetrics-text;q=0.5',
      'application/openmetrics-text;q=0.2,text/plain;q=0,*/*;q=0.9',
    ])
      assert.equal(wantsOpenMetrics(accept), true, accept);
  });

  it('is plain text for everybody else, whatever they write', () => {
    for (const accept of [
      undefined,
      '',
      '*/*',
      'application/*',
      'text/plain;version=0.0.4',
      'application/json',
      'application/openmetrics-text;version=0.0.1',
      'application/openmetrics-text;version=2.0.0',
      'application/openmetrics-text;q=0',
      'application/openmetrics-text;q=1.5',
      'application/openmetrics-text;q=NaN',
      'application/openmetrics-text;q=0.4,text/plain;q=0.5',
      'application/openmetrics-text;q=0.4,text/*',
      'application/openmetrics-text;q=0.4,*/*;q=0.5',
      'application/openmetrics-textual',
      `${'application/openmetrics-text;q=0,'.repeat(200)};;;,=,"`,
    ])
      assert.equal(wantsOpenMetrics(accept), false, String(accept));
  });

  it('says which it is', async () => {
    const registry = new Registry();
    assert.deepEqual(await metricsPage(registry, PROMETHEUS_2), {
      type: 'application/openmetrics-text; version=1.0.0; charset=utf-8',
      body: '# EOF\n',
    });
    assert.equal((await metricsPage(registry, undefined)).type, 'text/plain; version=0.0.4; charset=utf-8');
  });

  it('leaves the plain text as it is, though OpenMetrics was asked for before', async () => {
    const registry = registryOfAll();
    const before = (await metricsPage(registry, 'text/plain')).body;
    await metricsPage(registry, PROMETHEUS_2);
    assert.equal((await metricsPage(registry, 'text/plain')).body, before);
    assert.match(before, /^# TYPE got_bytes_total counter$/m);
    assert.doesNotMatch(before, /trace_id|EOF/);
  });
});

describe('lib/admin: OpenMetrics text', () => {
  it('names counters without _total, tells units, and escapes', async () => {
    assert.equal(
      await openMetricsText(registryOfAll()),
      String.raw`# TYPE got_bytes counter
# UNIT got_bytes bytes
# HELP got_bytes Got \"all\"\nof \\ it
got_bytes_total{from="a\"b\\c\nd,e=}"} 3
# TYPE pods_count_total gauge
# HELP pods_count_total Pods
pods_count_total NaN
# TYPE odd unknown
# HELP odd No total
odd 1
# TYPE took_seconds histogram
# UNIT took_seconds seconds
# HELP took_seconds Took
took_seconds_bucket{le="1"} 1 # {trace_id="ab",odd="\"\n"} 0.5 12.000
took_seconds_bucket{le="+Inf"} 1
took_seconds_sum 0.5
took_seconds_count 1
# EOF
`,
    );
  });

  it('leaves out an exemplar that is longer than OpenMetrics allows, and keeps its bucket', async () => {
    const registry = new Registry();
    histogramWith(registry, { trace_id: 'x'.repeat(121) });
    assert.match(await openMetricsText(registry), /^took_seconds_bucket\{le="1"\} 1$/m);
  });
});

function registryOfAll(): Registry {
  const registry = new Registry();
  const registers = [registry];
  new Counter({
    ...{ name: 'got_bytes_total', help: 'Got "all"\nof \\ it', labelNames: ['from'], registers },
  }).inc({ from: 'a"b\\c\nd,e=}' }, 3);
  new Gauge({ name: 'pods_count_total', help: 'Pods', registers }).set(NaN);
  new Counter({ name: 'odd', help: 'No total', registers }).inc();
  histogramWith(registry, { trace_id: 'ab', odd: '"\n' });
  return registry;
}

/** One observation, with an exemplar as prom-client keeps it, of 12 s after the epoch. */
function histogramWith(registry: Registry, labelSet: Record<string, string>): void {
  const histogram = new Histogram({
    ...{ name: 'took_seconds', help: 'Took', buckets: [1], registers: [registry] },
  });
  histogram.observe(0.5);
  const get = histogram.get.bind(histogram);
  histogram.get = async () => {
    const found = await get();
    const [bucket, ...rest] = found.values;
    const exemplar = { labelSet, value: 0.5, timestamp: 12 };
    return { ...found, values: [{ ...bucket, exemplar }, ...rest] } as typeof found;
  };
}
