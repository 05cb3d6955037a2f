import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { ConnectionMetrics } from '../../../../waypoint/telemetry/connection-metrics.ts';
import { MetricsRegistry } from '../../../../waypoint/telemetry/metrics-registry.ts';
import { RequestMetrics } from '../../../../waypoint/telemetry/request-metrics.ts';
import { RuntimeMetrics } from '../../../../waypoint/telemetry/runtime-metrics.ts';
import { toyRequest } from './records.ts';

const HOUR_MS = 3_600_000;

describe('waypoint/telemetry: counters, gauges and connections', () => {
  it('adds up counters of all workers and takes the newest gauges of each', async () => {
    const registry = new MetricsRegistry('test');
    const workers = [new RuntimeMetrics(), new RuntimeMetrics()];
    for (const [at, runtime] of workers.entries()) {
      runtime.count('retries', ['shop/payments', 'success']);
      runtime.count('retries', ['shop/payments', 'success'], 2);
      runtime.step('activeRequests', [], 5);
      runtime.step('activeRequests', [], -2);
      runtime.set('ejectedEndpoints', ['shop/payments'], 1);
      registry.apply(String(at), batchOf(runtime));
      registry.apply(String(at), batchOf(runtime));
    }
    const text = await registry.text();
    assert.match(text, /^loam_waypoint_retries_total\{service="shop\/payments",outcome="success"\} 6$/m);
    assert.match(text, /^loam_waypoint_active_requests 6$/m);
    assert.match(text, /^loam_waypoint_ejected_endpoints\{service="shop\/payments"\} 2$/m);
  });

  it('lets gauges go with their worker, and those that fell to 0', async () => {
    const registry = new MetricsRegistry('test');
    const [one, two] = [new RuntimeMetrics(), new RuntimeMetrics()];
    one.step('upstreamConnections', ['shop/a'], 1);
    two.step('upstreamConnections', ['shop/b'], 1);
    registry.apply('1', batchOf(one));
    registry.apply('2', batchOf(two));
    registry.workerStatus('1', { maxLoopDelayMs: 20, heapUsed: 1, heapLimit: 2 });
    registry.workerGone('1');
    assert.doesNotMatch(await registry.text(), /shop\/a|worker="1"/);
    two.step('upstreamConnections', ['shop/b'], -1);
    registry.apply('2', batchOf(two));
    assert.doesNotMatch(await registry.text(), /shop\/b/);
    assert.match(await registry.text(), /^loam_waypoint_active_requests 0$/m);
  });

  it('shows a gauge of Services as it is when it is asked for, 0 too, and no Service that is gone', async () => {
    const registry = new MetricsRegistry('test');
    const runtime = new RuntimeMetrics();
    runtime.show(
      'ejectedEndpoints',
      new Map([
        ['shop/a', 0],
        ['shop/b', 2],
      ]),
    );
    registry.apply('1', batchOf(runtime));
    registry.apply('1', batchOf(runtime));
    assert.match(await registry.text(), /^loam_waypoint_ejected_endpoints\{service="shop\/a"\} 0$/m);
    assert.match(await registry.text(), /^loam_waypoint_ejected_endpoints\{service="shop\/b"\} 2$/m);
    runtime.show('ejectedEndpoints', new Map([['shop/a', 1]]));
    registry.apply('1', batchOf(runtime));
    assert.match(await registry.text(), /^loam_waypoint_ejected_endpoints\{service="shop\/a"\} 1$/m);
    assert.doesNotMatch(await registry.text(), /shop\/b/);
  });

  it('bounds the Services of a gauge', () => {
    const runtime = new RuntimeMetrics();
    runtime.show('pendingRequests', new Map(Array.from({ length: 10_050 }, (_, i) => [`s${i}`, 1])));
    const { gauges = [] } = runtime.takeBatch();
    assert.equal(gauges.length, 10_001);
    assert.deepEqual(gauges.at(-1), { metric: 'pendingRequests', labels: ['other'], value: 50 });
  });

  it('bounds the label sets of a worker', () => {
    const runtime = new RuntimeMetrics();
    for (let i = 0; i < 10_050; i++) runtime.count('denied', [`s${i}`, 'p']);
    const { counters } = runtime.takeBatch();
    assert.equal(counters.length, 10_001);
    assert.deepEqual(counters.at(-1), { metric: 'denied', labels: ['other', 'other'], value: 50 });
  });

  it('counts opaque connections, bytes to the client as sent, and keeps open ones', async () => {
    const registry = new MetricsRegistry('test');
    const connections = new ConnectionMetrics();
    const { source, backend, upstream } = toyRequest();
    const peers = { source, service: backend, upstream };
    const handle = connections.open(peers);
    handle.request(7);
    handle.response(100);
    connections.refused({ ...peers, upstream: undefined }, ['UH']);
    registry.apply('1', batchOf(new RuntimeMetrics(), connections));
    const later = performance.now() + HOUR_MS;
    assert.equal(connections.takeBatch(true, later).evicted.length, 1);
    handle.close(['UC']);
    handle.close(['UC']);
    registry.apply('1', batchOf(new RuntimeMetrics(), connections));
    const lines = (await registry.text()).split('\n').filter((line) => line.startsWith('istio_tcp_'));
    const value = (name: string, flag: string) =>
      lines
        .find((line) => line.startsWith(`${name}{`) && line.includes(`response_flags="${flag}"`))
        ?.split(' ')
        .at(-1);
    assert.equal(value('istio_tcp_connections_opened_total', '-'), '1');
    assert.equal(value('istio_tcp_sent_bytes_total', '-'), '100');
    assert.equal(value('istio_tcp_received_bytes_total', '-'), '7');
    assert.equal(value('istio_tcp_connections_closed_total', 'UC'), '1');
    assert.equal(value('istio_tcp_connections_failed_total', 'UC'), '1');
    assert.equal(value('istio_tcp_connections_failed_total', 'UH'), '1');
    assert.equal(value('istio_tcp_connections_closed_total', '-'), undefined);
    assert.equal(connections.takeBatch(true, later + HOUR_MS).evicted.length, 2);
  });

  it('shows the state of keys only while their issuer is configured', async () => {
    const registry = new MetricsRegistry('test');
    registry.jwks('https://issuer', { keys: 2, stale: true });
    assert.match(await registry.text(), /^loam_waypoint_jwks_stale\{issuer="https:\/\/issuer"\} 1$/m);
    registry.jwks('https://issuer', undefined);
    assert.doesNotMatch(await registry.text(), /issuer="/);
  });
});

function batchOf(runtime: RuntimeMetrics, connections = new ConnectionMetrics()) {
  return structuredClone({
    requests: new RequestMetrics().takeBatch(false),
    connections: connections.takeBatch(false),
    runtime: runtime.takeBatch(),
  });
}
