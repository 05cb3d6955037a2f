import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { FLOW_LABELS, flowLabelValues, type Flow } from '../../../../ztunnel/telemetry/flow-labels.ts';
import { FlowMetrics } from '../../../../ztunnel/telemetry/flow-metrics.ts';
import { MetricsRegistry } from '../../../../ztunnel/telemetry/metrics-registry.ts';
import { toyWorkload } from '../support/toy-mesh.ts';

const FLOW: Flow = {
  reporter: 'source',
  source: toyWorkload('client', '198.18.0.1'),
  sourceIdentity: 'spiffe://cluster.local/ns/default/sa/client',
  destination: toyWorkload('server', '198.18.0.2'),
  destinationIdentity: 'spiffe://cluster.local/ns/default/sa/server',
  service: { name: 'server', namespace: 'default', hostname: 'server.default.svc.cluster.local' },
  mutualTls: true,
};
const HOUR_MS = 3_600_000;

describe('ztunnel/telemetry', () => {
  it("has Istio's labels in Istio's order", () => {
    const values = flowLabelValues(FLOW);
    const labelled = Object.fromEntries(FLOW_LABELS.map((name, i) => [name, values[i]]));
    assert.equal(values.length, FLOW_LABELS.length);
    assert.equal(labelled['source_principal'], FLOW.sourceIdentity);
    assert.equal(labelled['destination_service'], 'server.default.svc.cluster.local');
    assert.equal(labelled['destination_service_name'], 'server');
    assert.equal(labelled['request_protocol'], 'tcp');
    assert.equal(labelled['connection_security_policy'], 'mutual_tls');
    assert.equal(labelled['source_region'], 'unknown');
    assert.equal(FLOW_LABELS[0], 'reporter');
    assert.equal(FLOW_LABELS[21], 'response_flags');
  });

  it('never calls plaintext mutual TLS, nor invents a principal', () => {
    const values = flowLabelValues({
      ...FLOW,
      reporter: 'destination',
      source: undefined,
      sourceIdentity: undefined,
      destinationIdentity: undefined,
      service: undefined,
      mutualTls: false,
    });
    const labelled = Object.fromEntries(FLOW_LABELS.map((name, i) => [name, values[i]]));
    assert.equal(labelled['connection_security_policy'], 'unknown');
    assert.equal(labelled['source_principal'], 'unknown');
    assert.equal(labelled['source_workload'], 'unknown');
  });

  it('counts response bytes as sent and request bytes as received, as Istio does for both reporters', async () => {
    const metrics = new FlowMetrics();
    const handle = metrics.handle(FLOW);
    handle.opened();
    handle.request(7);
    handle.response(100);
    handle.closed('DENY');
    handle.failed('DENY');
    const registry = new MetricsRegistry('test');
    registry.apply(metrics.takeBatch());
    const lines = (await registry.text()).split('\n').filter((line) => line.startsWith('istio_tcp_'));
    const value = (name: string, flag: string) =>
      lines
        .find((l) => l.startsWith(`${name}{`) && l.includes(`response_flags="${flag}"`))
        ?.split(' ')
        .at(-1);
    assert.equal(value('istio_tcp_connections_opened_total', '-'), '1');
    assert.equal(value('istio_tcp_sent_bytes_total', '-'), '100');
    assert.equal(value('istio_tcp_received_bytes_total', '-'), '7');
    assert.equal(value('istio_tcp_connections_closed_total', 'DENY'), '1');
    assert.equal(value('istio_tcp_connections_failed_total', 'DENY'), '1');
    assert.equal(value('istio_tcp_connections_closed_total', '-'), undefined);
  });

  it('hands over each count once', () => {
    const metrics = new FlowMetrics();
    metrics.handle(FLOW).opened();
    metrics.handle(FLOW).opened();
    metrics.refused('NO_ORIGINAL_DST');
    const batch = metrics.takeBatch();
    assert.equal(batch.flows.length, 1);
    assert.equal(batch.flows[0]?.opened, 2);
    assert.deepEqual(batch.refused, { NO_ORIGINAL_DST: 1 });
    assert.deepEqual(metrics.takeBatch(), { flows: [], evicted: [], refused: {}, egress: [] });
  });

  it('forgets idle label sets, but none with an open connection', async () => {
    const metrics = new FlowMetrics();
    const registry = new MetricsRegistry('test');
    const later = performance.now() + HOUR_MS;
    const open = metrics.handle(FLOW);
    open.opened();
    const idle = metrics.handle({ ...FLOW, reporter: 'destination' });
    idle.opened();
    idle.closed('-');
    registry.apply(metrics.takeBatch());
    assert.match(await registry.text(), /reporter="destination",source_workload/);
    const batch = metrics.takeBatch(later);
    assert.equal(batch.evicted.length, 1);
    registry.apply(batch);
    const text = await registry.text();
    assert.doesNotMatch(text, /reporter="destination",source_workload/);
    assert.match(text, /reporter="source",source_workload/);
  });

  it('puts what goes beyond its bound into one set of unknowns', () => {
    const metrics = new FlowMetrics(2);
    for (let i = 0; i < 10; i++) metrics.handle({ ...FLOW, sourceIdentity: `spiffe://x/${i}` }).opened();
    const { flows } = metrics.takeBatch();
    assert.equal(flows.length, 3);
    assert.deepEqual(flows.map((flow) => flow.opened).sort(), [1, 1, 8]);
  });
});
