import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pino } from 'pino';
import { after, before, describe, it } from 'mocha';
import { TelemetryHub } from '../../waypoint/telemetry/telemetry-hub.ts';
import { WorkerTelemetry } from '../../waypoint/telemetry/worker-telemetry.ts';
import { OtelCollector } from '../support/otel-collector.ts';
import { toyRequest } from '../unit/waypoint/telemetry/records.ts';

const BUILD_MS = 600_000;
const TRACE = '4bf92f3577b34da6a3ce929d0e0e4736';
const PARENT = '00f067aa0ba902b7';
const HANGING = {
  address: '198.18.0.8:8080',
  service: 'payments-v2.shop.svc.cluster.local',
  identity: undefined,
  status: undefined,
  grpcStatus: undefined,
  error: 'UT',
};

describe("the waypoint's spans in an OpenTelemetry Collector", function () {
  let folder: string;
  let collector: OtelCollector;

  before(async function () {
    this.timeout(BUILD_MS);
    folder = mkdtempSync(join(tmpdir(), 'loam-otel-'));
    collector = await OtelCollector.start({ folder });
  });
  after(async () => {
    await collector.stop();
    rmSync(folder, { recursive: true, force: true });
  });

  for (const protocol of ['HTTP', 'gRPC'] as const)
    it(`arrive whole by OTLP/${protocol}: parents, tries, attributes, times, state and status`, async () => {
      const { id, address } = {
        HTTP: { id: '6', address: collector.endpoint },
        gRPC: { id: '7', address: collector.grpcEndpoint },
      }[protocol];
      const traceId = `${TRACE.slice(0, -1)}${id}`;
      const hub = hubTo(address);
      const worker = new WorkerTelemetry({ post: (batch) => hub.apply('1', structuredClone(batch)) });
      worker.tracing = { enabled: true, ratio: 0 };
      const trace = worker.beginTrace({
        traceparent: `00-${traceId}-${PARENT}-01`,
        tracestate: 'vendor=x',
      });
      trace.attempt({}, 1_700_000_000_001)(HANGING, 1_700_000_000_005.5);
      const sent: Record<string, string> = {};
      trace.attempt(sent, 1_700_000_000_006)(
        { ...HANGING, status: 200, error: undefined },
        1_700_000_000_012,
      );
      worker.requestEnded(toyRequest({ trace, attempts: 2, flags: ['FB'] }));
      worker.flush();
      await hub.close();

      const spans = await collector.waitFor('the spans of a request', (all) => ofTrace(all).length === 3);
      const [server, first, second] = ofTrace(spans);
      assert.ok(server && first && second);
      assert.deepEqual([server.kind, first.kind, second.kind], ['server', 'client', 'client']);
      assert.equal(server.parentSpanId, PARENT);
      assert.equal(server.tracestate, 'vendor=x');
      assert.equal(server.service, 'waypoint.shop');
      assert.equal(server.resource['k8s.node.name'], 'node-a');
      assert.deepEqual([first.parentSpanId, second.parentSpanId], [server.spanId, server.spanId]);
      assert.equal(sent['traceparent'], `00-${traceId}-${second.spanId}-01`, 'what the application was told');
      assert.equal(server.start, 1_700_000_000_000_250_000n);
      assert.equal(server.end, 1_700_000_000_012_750_000n);
      assert.equal(first.end, 1_700_000_000_005_500_000n);
      assert.deepEqual([server.failed, first.failed, second.failed], [false, true, false]);
      assert.equal(first.message, 'UT');
      assert.equal(second.attributes['http.request.resend_count'], 1);
      assert.equal(server.attributes['http.response.status_code'], 200);
      assert.deepEqual(server.attributes['loam.response_flags'], ['FB']);
      assert.equal(server.attributes['loam.route'], 'HTTPRoute/shop/payments#0');
      assert.match(await hub.metrics.text(), /^loam_waypoint_spans_total\{outcome="exported"\} 3$/m);

      function ofTrace<S extends { traceId: string }>(all: readonly S[]): S[] {
        return all.filter((span) => span.traceId === traceId);
      }
    });

  it('arrive by the thousand, none lost within the bound and none twice', async () => {
    const hub = hubTo(collector.endpoint);
    const worker = new WorkerTelemetry({ post: (batch) => hub.apply('1', structuredClone(batch)) });
    worker.tracing = { enabled: true, ratio: 1 };
    const wanted = new Set<string>();
    for (let i = 0; i < 4_000; i++) {
      const trace = worker.beginTrace({});
      wanted.add(trace.spanId ?? '');
      worker.requestEnded(toyRequest({ trace }));
    }
    worker.flush();
    await hub.close();
    const mine = (ids: readonly { spanId: string }[]) => ids.filter(({ spanId }) => wanted.has(spanId));
    const spans = await collector.waitFor('4,000 spans', (all) => mine(all).length >= 4_000);
    assert.equal(mine(spans).length, 4_000);
    assert.equal(new Set(mine(spans).map(({ spanId }) => spanId)).size, 4_000);
  });

  function hubTo(endpoint: string): TelemetryHub {
    const hub = new TelemetryHub({
      log: pino({ level: 'silent' }),
      version: 'test',
      gateway: 'shop/waypoint',
      node: 'node-a',
    });
    hub.configure({ otlpEndpoint: endpoint, sampling: 1 });
    return hub;
  }
});
