import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { MetricsRegistry } from '../../../../waypoint/telemetry/metrics-registry.ts';
import type { RequestRecord } from '../../../../waypoint/telemetry/request-record.ts';
import {
  REQUEST_LABELS,
  RequestMetrics,
  requestLabelValues,
} from '../../../../waypoint/telemetry/request-metrics.ts';
import { ConnectionMetrics } from '../../../../waypoint/telemetry/connection-metrics.ts';
import { RuntimeMetrics } from '../../../../waypoint/telemetry/runtime-metrics.ts';
import type { MetricsBatch } from '../../../../waypoint/telemetry/metrics-registry.ts';
import { unpackCounts } from '../../../../waypoint/telemetry/request-batch.ts';
import { toyRequest, toyWorkload } from './records.ts';

const HOUR_MS = 3_600_000;

describe('waypoint/telemetry/request-metrics', () => {
  it("has Istio's standard labels in Istio's order, and the route", () => {
    assert.deepEqual(labelled(toyRequest()), {
      reporter: 'waypoint',
      source_workload: 'frontend',
      source_canonical_service: 'frontend',
      source_canonical_revision: 'v1',
      source_workload_namespace: 'shop',
      source_principal: 'spiffe://cluster.local/ns/shop/sa/frontend',
      source_app: 'frontend',
      source_version: 'v1',
      source_cluster: 'Kubernetes',
      destination_service: 'payments-v2.shop.svc.cluster.local',
      destination_service_namespace: 'shop',
      destination_service_name: 'payments-v2',
      destination_workload: 'payments-v2',
      destination_canonical_service: 'payments',
      destination_canonical_revision: 'v2',
      destination_workload_namespace: 'shop',
      destination_principal: 'spiffe://cluster.local/ns/shop/sa/payments-v2',
      destination_app: 'payments',
      destination_version: 'v2',
      destination_cluster: 'Kubernetes',
      request_protocol: 'http',
      response_code: '200',
      grpc_response_status: '',
      response_flags: '-',
      connection_security_policy: 'mutual_tls',
      route: 'HTTPRoute/shop/payments#0',
    });
  });

  it('labels what is not known as unknown, and the dialled service where no backend was chosen', () => {
    const labels = labelled(
      toyRequest({
        source: { ip: '198.18.0.1', port: 1, identity: undefined, workload: undefined },
        backend: undefined,
        upstream: undefined,
        route: undefined,
        status: 0,
        flags: ['DC'],
      }),
    );
    assert.equal(labels['source_workload'], 'unknown');
    assert.equal(labels['source_principal'], 'unknown');
    assert.equal(labels['connection_security_policy'], 'unknown');
    assert.equal(labels['destination_service_name'], 'payments');
    assert.equal(labels['destination_workload'], 'unknown');
    assert.equal(labels['response_code'], '0');
    assert.equal(labels['response_flags'], 'DC');
    assert.equal(labels['route'], 'none');
  });

  it('takes nothing that client or application invent as a label value', () => {
    const seen = new Set<string>();
    for (let i = 0; i < 200; i++) {
      const labels = requestLabelValues(
        toyRequest({
          method: `M${i}`,
          path: `/${i}`,
          authority: `host-${i}`,
          requestId: String(i),
          protocol: 'grpc',
          grpcStatus: 17 + i,
          status: 1_000 + i,
        }),
      );
      seen.add(labels.join('|'));
    }
    assert.equal(seen.size, 1);
    assert.equal(labelled(toyRequest({ protocol: 'grpc', grpcStatus: 14 }))['grpc_response_status'], '14');
  });

  it('fills histograms as Prometheus reads them, over batches and workers', async () => {
    const registry = new MetricsRegistry('test');
    const one = new RequestMetrics();
    const two = new RequestMetrics();
    one.record(toyRequest({ durationMs: 0.4 }));
    one.record(toyRequest({ durationMs: 5 }));
    registry.apply('1', batch(one));
    one.record(toyRequest({ durationMs: 7 }));
    two.record(toyRequest({ durationMs: 4_000_000 }));
    registry.apply('1', batch(one));
    registry.apply('2', batch(two));
    const text = await registry.text();
    const value = (metric: string, le?: string) => sample(text, metric, le === undefined ? '' : `le="${le}"`);
    assert.equal(value('istio_requests_total'), 4);
    assert.equal(value('istio_request_duration_milliseconds_bucket', '0.5'), 1);
    assert.equal(value('istio_request_duration_milliseconds_bucket', '1'), 1);
    assert.equal(value('istio_request_duration_milliseconds_bucket', '5'), 2);
    assert.equal(value('istio_request_duration_milliseconds_bucket', '10'), 3);
    assert.equal(value('istio_request_duration_milliseconds_bucket', '3600000'), 3);
    assert.equal(value('istio_request_duration_milliseconds_bucket', '+Inf'), 4);
    assert.equal(value('istio_request_duration_milliseconds_count'), 4);
    assert.equal(value('istio_request_duration_milliseconds_sum'), 4_000_012.4);
    assert.equal(value('istio_request_bytes_sum'), 1_200);
    assert.equal(value('istio_response_bytes_sum'), 80);
    assert.match(text, /^# TYPE istio_request_duration_milliseconds histogram$/m);
  });

  it('counts gRPC messages', async () => {
    const registry = new MetricsRegistry('test');
    const metrics = new RequestMetrics();
    metrics.record(toyRequest({ protocol: 'grpc', grpcStatus: 0, requestMessages: 3, responseMessages: 7 }));
    registry.apply('1', batch(metrics));
    const text = await registry.text();
    assert.equal(sample(text, 'istio_request_messages_total', 'request_protocol="grpc"'), 3);
    assert.equal(sample(text, 'istio_response_messages_total', 'grpc_response_status="0"'), 7);
  });

  it('hands over each request once', () => {
    const metrics = new RequestMetrics();
    metrics.record(toyRequest());
    assert.equal(changesOf(metrics)[0]?.counts.requests, 1);
    assert.deepEqual(metrics.takeBatch(false), {
      ...{ fresh: [], counts: new Float64Array(), exemplars: [], evicted: [] },
    });
  });

  it('tells a label set once, and counts under it from then on', async () => {
    const registry = new MetricsRegistry('test');
    const metrics = new RequestMetrics();
    const first = { durationMs: 3, requestBytes: 10, responseBytes: 0, route: 'a' };
    metrics.record(toyRequest(first));
    registry.apply('1', batch(metrics));
    metrics.record(toyRequest(first));
    metrics.record(toyRequest({ route: 'b' }));
    const second = batch(metrics);
    assert.deepEqual(
      second.requests.fresh.map(({ labels }) => labels.at(-1)),
      ['b'],
    );
    registry.apply('1', second);
    metrics.record(toyRequest({ ...first, durationMs: 0.1 }));
    registry.apply('1', batch(metrics));
    const text = await registry.text();
    assert.equal(sample(text, 'istio_requests_total', 'route="a"'), 3);
    assert.equal(sample(text, 'istio_requests_total', 'route="b"'), 1);
    const lines = text.split('\n').filter((line) => line.includes('route="a"'));
    const value = (start: string) =>
      Number(
        lines
          .find((line) => line.startsWith(start))
          ?.split(' ')
          .at(-1),
      );
    assert.equal(value('istio_request_bytes_sum'), 30);
    assert.equal(value('istio_request_duration_milliseconds_count'), 3);
    assert.equal(value('istio_request_duration_milliseconds_sum'), 6.1);
  });

  it('sees a workload that changed under the same uid', () => {
    const metrics = new RequestMetrics();
    const upstream = { address: 'x', identity: undefined };
    metrics.record(toyRequest({ upstream: { ...upstream, workload: toyWorkload('b') } }));
    metrics.record(
      toyRequest({ upstream: { ...upstream, workload: toyWorkload('b', { canonicalRevision: 'v9' }) } }),
    );
    metrics.record(toyRequest({ upstream: { ...upstream, workload: toyWorkload('b') } }));
    const changed = changesOf(metrics);
    assert.deepEqual(
      changed.map(({ labels, counts }) => [
        labels[REQUEST_LABELS.indexOf('destination_version')],
        counts.requests,
      ]),
      [
        ['v1', 2],
        ['v9', 1],
      ],
    );
  });

  it('puts what goes beyond its bound into one set of unknowns', () => {
    const metrics = new RequestMetrics(2);
    for (let i = 0; i < 10; i++) metrics.record(toyRequest({ status: 200 + i }));
    const changed = changesOf(metrics);
    assert.deepEqual(changed.map(({ counts }) => counts.requests).sort(), [1, 1, 8]);
    assert.deepEqual(new Set(changed[2]?.labels), new Set(['waypoint', 'unknown']));
    assert.equal(changed[2]?.labels.length, REQUEST_LABELS.length);
  });

  it('drops a series only when no worker counts under it any more', async () => {
    const registry = new MetricsRegistry('test');
    const one = new RequestMetrics();
    const two = new RequestMetrics();
    one.record(toyRequest());
    two.record(toyRequest());
    registry.apply('1', batch(one));
    registry.apply('2', batch(two));
    const later = performance.now() + HOUR_MS;
    registry.apply('1', batch(one, later));
    assert.equal(sample(await registry.text(), 'istio_requests_total', ''), 2);
    registry.apply('2', batch(two, later));
    assert.doesNotMatch(await registry.text(), /reporter="waypoint"/);
    // And what is forgotten can come again.
    one.record(toyRequest());
    registry.apply('1', batch(one));
    assert.equal(sample(await registry.text(), 'istio_requests_total', ''), 1);
  });

  it('keeps for a while what a worker counted that ended', async () => {
    const registry = new MetricsRegistry('test');
    const metrics = new RequestMetrics();
    metrics.record(toyRequest());
    registry.apply('1', batch(metrics));
    registry.workerGone('1');
    assert.equal(sample(await registry.text(), 'istio_requests_total', ''), 1);
    assert.doesNotMatch(await registry.text(performance.now() + HOUR_MS), /reporter="waypoint"/);
  });
});

function labelled(record: RequestRecord): Record<string, string | undefined> {
  const values = requestLabelValues(record);
  assert.equal(values.length, REQUEST_LABELS.length);
  return Object.fromEntries(REQUEST_LABELS.map((name, i) => [name, values[i]]));
}

function batch(metrics: RequestMetrics, evictAt?: number): MetricsBatch {
  return structuredClone({
    requests: metrics.takeBatch(evictAt !== undefined, evictAt),
    connections: new ConnectionMetrics().takeBatch(false),
    runtime: new RuntimeMetrics().takeBatch(),
  });
}

/** What a worker hands over, where all of its label sets are new. */
function changesOf(metrics: RequestMetrics) {
  const { fresh, counts } = metrics.takeBatch(false);
  return unpackCounts(counts).map(({ id, counts: grown }) => ({
    labels: fresh.find((series) => series.id === id)?.labels ?? [],
    counts: grown,
  }));
}

/** The value of the one line of a metric that has this label. */
function sample(text: string, metric: string, label: string): number | undefined {
  const lines = text.split('\n').filter((line) => line.startsWith(`${metric}{`) && line.includes(label));
  assert.equal(lines.length, 1, `${metric} ${label}: ${lines.length} lines`);
  return Number(lines[0]?.split(' ').at(-1));
}
