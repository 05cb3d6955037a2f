import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import type { Headers } from '../../../../lib/mesh/waypoint/request.ts';
import { MetricsRegistry } from '../../../../waypoint/telemetry/metrics-registry.ts';
import { BUCKETS } from '../../../../waypoint/telemetry/request-metrics.ts';
import type { RequestRecord } from '../../../../waypoint/telemetry/request-record.ts';
import { WorkerTelemetry, type TelemetryBatch } from '../../../../waypoint/telemetry/worker-telemetry.ts';
import { toyRequest, toyWorkload } from './records.ts';

const OPEN_METRICS = 'application/openmetrics-text; version=1.0.0';
/** Of a bucket with an exemplar, all that it shows of it. */
const EXEMPLAR =
  /^istio_request_duration_milliseconds_bucket\{.*le="([^"]+)"\} \d+ # \{trace_id="([0-9a-f]{32})",span_id="([0-9a-f]{16})"\} (\S+) (\d+\.\d{3})$/;
const CLIENT = { trace: '463ac35c9f6413ad48485a3953bb6124', span: 'a2fb4a1d1a96d312' };

describe('waypoint/telemetry: exemplars', () => {
  it('show in each bucket of the duration the newest trace that is exported', async () => {
    const { send, page, exported } = parts();
    const [first, second, slow] = [
      send({ durationMs: 3 }),
      send({ durationMs: 4 }),
      send({ durationMs: 9_000 }),
    ];
    const shown = await exemplars(page);
    assert.deepEqual(
      shown.map(({ le, traceId, spanId, value }) => [le, traceId, spanId, value]),
      [
        ['5', second?.traceId, second?.spanId, 4],
        ['10000', slow?.traceId, slow?.spanId, 9_000],
      ],
    );
    assert.ok(shown.every(({ traceId }) => exported().includes(traceId)));
    assert.ok(exported().includes(first?.traceId ?? ''));
    assert.ok(shown.every(({ seconds }) => Math.abs(seconds * 1_000 - Date.now()) < 600_000));
  });

  it('show what a client chose to sample, by its trace and our span', async () => {
    const { send, page } = parts(0);
    const trace = send({}, { traceparent: `00-${CLIENT.trace}-${CLIENT.span}-01` });
    const [shown] = await exemplars(page);
    assert.equal(shown?.traceId, CLIENT.trace);
    assert.equal(shown.spanId, trace?.spanId);
    assert.notEqual(shown.spanId, CLIENT.span);
  });

  it('show nothing of what is not sampled, nor where nothing is traced', async () => {
    const { send, page } = parts(0);
    send({});
    send({}, { traceparent: `00-${CLIENT.trace}-${CLIENT.span}-00` });
    assert.deepEqual(await exemplars(page), []);
    const untraced = parts(1, false);
    untraced.send({}, { traceparent: `00-${CLIENT.trace}-${CLIENT.span}-01` });
    assert.deepEqual(await exemplars(untraced.page), []);
  });

  it('show no trace whose spans there was no room for', async () => {
    const { worker, page, exported, flush } = parts();
    for (let i = 0; i < 5_000; i += 1)
      worker.requestEnded(toyRequest({ trace: worker.beginTrace({}), durationMs: i < 4_096 ? 3 : 7 }));
    flush();
    const shown = await exemplars(page);
    assert.deepEqual(
      shown.map(({ le }) => le),
      ['5'],
    );
    assert.ok(exported().includes(shown[0]?.traceId ?? ''));
  });

  it('are one at most of each bucket, of all workers together, whatever clients send', async () => {
    const registry = new MetricsRegistry('test');
    const workers = [parts(1, true, registry, 'a'), parts(1, true, registry, 'b')];
    for (let round = 0; round < 5; round += 1)
      for (const { send } of workers)
        for (const bound of [...BUCKETS, 4_000_000])
          for (let i = 0; i < 3; i += 1) send({ durationMs: bound });
    const { page } = workers[0] ?? parts();
    assert.equal((await exemplars(page)).length, BUCKETS.length + 1);
  });

  it('show the newest, though another worker tells later of one before', async () => {
    const registry = new MetricsRegistry('test');
    const [one, two] = [parts(1, true, registry, 'a'), parts(1, true, registry, 'b')];
    one.send({});
    const [before] = one.batches;
    for (const began = Date.now(); Date.now() === began;);
    const newest = two.send({});
    assert.ok(before && newest);
    registry.apply('a', before.metrics);
    assert.deepEqual(
      (await exemplars(one.page)).map(({ traceId }) => traceId),
      [newest.traceId],
    );
  });

  it('go with their series', async () => {
    const { send, page, worker, flush } = parts();
    send({ upstream: { address: 'a', workload: toyWorkload('gone'), identity: undefined } });
    assert.equal((await exemplars(page)).length, 1);
    worker.flush(performance.now() + 3_600_000);
    flush();
    assert.deepEqual(await exemplars(page), []);
  });

  it('leave the plain text without them', async () => {
    const { send, page } = parts();
    send({});
    const text = await page('text/plain');
    assert.doesNotMatch(text, /trace_id|# \{|EOF/);
    assert.match(text, /^istio_request_duration_milliseconds_bucket\{.*,le="25"\} 1$/m);
  });

  it('let nothing of a client into the page but ids that are ones', async () => {
    const { send, page } = parts(0);
    const hostile = [
      `"} 1\n# EOF\nistio_requests_total 9`,
      `00-${CLIENT.trace}-${CLIENT.span}-01\n# EOF`,
      `00-${CLIENT.trace}-${CLIENT.span}-01"`,
      `00-${'"'.repeat(32)}-${CLIENT.span}-01`,
      `00-${CLIENT.trace.slice(0, 31)}\u212a-${CLIENT.span}-01`,
      `00-${CLIENT.trace.toUpperCase()}-${CLIENT.span}-01`,
      `00-${CLIENT.trace}-${CLIENT.span}-01${'-'.repeat(10_000)}`,
      '\u0000\u00ff\ud800',
    ];
    for (const text of hostile) {
      send({}, { traceparent: text, tracestate: text });
      send({}, { b3: `${text}-${CLIENT.span}-1` });
      send({}, { 'x-b3-traceid': text, 'x-b3-spanid': text, 'x-b3-sampled': '1' });
      send({}, { 'x-b3-traceid': CLIENT.trace, 'x-b3-spanid': text, 'x-b3-flags': '1' });
    }
    const body = await page(OPEN_METRICS);
    assert.equal(body.indexOf('# EOF'), body.length - '# EOF\n'.length, 'it ends once');
    for (const line of body.split('\n').filter((each) => each.includes('trace_id')))
      assert.match(line, EXEMPLAR);
  });
});

type Parts = ReturnType<typeof parts>;

/** A worker's telemetry with the program's registry. */
function parts(ratio = 1, enabled = true, registry = new MetricsRegistry('test'), name = '1') {
  const batches: TelemetryBatch[] = [];
  const worker = new WorkerTelemetry({
    post: (batch) => {
      const sent = structuredClone(batch);
      batches.push(sent);
      registry.apply(name, sent.metrics);
    },
  });
  worker.tracing = { enabled, ratio };
  return {
    ...{ worker, batches, flush: () => worker.flush() },
    /** @returns the trace of the request */
    send: (changes: Partial<RequestRecord>, headers: Headers = {}) => {
      const trace = worker.beginTrace(headers);
      worker.requestEnded(toyRequest({ ...changes, trace }));
      worker.flush();
      return trace.recorded ? trace : undefined;
    },
    exported: () => batches.flatMap(({ spans }) => spans.map(({ traceId }) => traceId)),
    page: async (accept: string) => (await registry.page(accept)).body,
  };
}

async function exemplars(page: Parts['page']) {
  const body = await page(OPEN_METRICS);
  return body
    .split('\n')
    .filter((line) => line.includes(' # {'))
    .map((line) => {
      const [, le = '', traceId = '', spanId = '', value, seconds] = EXEMPLAR.exec(line) ?? [];
      assert.notEqual(traceId, '', line);
      return { le, traceId, spanId, value: Number(value), seconds: Number(seconds) };
    });
}
