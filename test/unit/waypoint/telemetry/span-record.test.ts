import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import type { Headers } from '../../../../lib/mesh/waypoint/request.ts';
import { RequestTrace, type AttemptOutcome } from '../../../../waypoint/telemetry/request-trace.ts';
import { spansOf } from '../../../../waypoint/telemetry/span-record.ts';
import { toyRequest } from './records.ts';

const TRACE = '4bf92f3577b34da6a3ce929d0e0e4736';
const SPAN = '00f067aa0ba902b7';

describe('waypoint/telemetry/span-record', () => {
  it('makes a server span and a client span for each try', () => {
    const trace = tracedWith({ status: 503 }, { status: 200 });
    const [server, first, second, ...more] = spansOf(toyRequest({ trace, attempts: 2 }));
    assert.equal(more.length, 0);
    assert.deepEqual(
      { ...server, attributes: {} },
      {
        traceId: TRACE,
        spanId: trace.spanId,
        parentSpanId: SPAN,
        parentIsRemote: true,
        tracestate: 'a=1',
        name: 'POST payments.shop.svc.cluster.local',
        kind: 'server',
        startMs: 1_700_000_000_000.25,
        endMs: 1_700_000_000_012.75,
        failed: false,
        message: undefined,
        attributes: {},
      },
    );
    assert.deepEqual(server?.attributes, {
      'http.request.method': 'POST',
      'network.protocol.name': 'http',
      'network.protocol.version': '1.1',
      'network.transport': 'tcp',
      'url.path': '/charge',
      'url.scheme': 'http',
      'server.address': 'payments.shop',
      'server.port': 80,
      'client.address': '198.18.0.1',
      'http.response.status_code': 200,
      'http.request.body.size': 300,
      'http.response.body.size': 20,
      'guid:x-request-id': 'c0ffee',
      'loam.service': 'payments.shop.svc.cluster.local',
      'loam.backend': 'payments-v2.shop.svc.cluster.local',
      'loam.route': 'HTTPRoute/shop/payments#0',
      'loam.attempts': 2,
      'loam.source.identity': 'spiffe://cluster.local/ns/shop/sa/frontend',
      'loam.source.workload': 'frontend',
      'loam.source.namespace': 'shop',
      'loam.destination.identity': 'spiffe://cluster.local/ns/shop/sa/payments-v2',
      'loam.destination.workload': 'payments-v2',
      'loam.destination.namespace': 'shop',
    });
    for (const client of [first, second]) {
      assert.equal(client?.parentSpanId, trace.spanId);
      assert.equal(client?.traceId, TRACE);
      assert.equal(client?.kind, 'client');
      assert.equal(client?.parentIsRemote, false);
    }
    assert.notEqual(first?.spanId, second?.spanId);
    assert.deepEqual([first?.failed, second?.failed], [true, false]);
    assert.equal(first?.attributes['error.type'], '503');
    assert.equal(first?.attributes['http.request.resend_count'], undefined);
    assert.equal(second?.attributes['http.request.resend_count'], 1);
    assert.equal(second?.attributes['network.peer.address'], '198.18.0.9');
    assert.equal(second?.attributes['network.peer.port'], 8080);
  });

  it("counts as failed what OpenTelemetry's conventions do", () => {
    const failed = (changes: Parameters<typeof toyRequest>[0]) =>
      spansOf(toyRequest({ trace: tracedWith(), ...changes }))[0]?.failed;
    assert.equal(failed({ status: 404 }), false);
    assert.equal(failed({ status: 500 }), true);
    assert.equal(failed({ status: 0, flags: ['DC'] }), true);
    assert.equal(failed({ protocol: 'grpc', grpcStatus: 5 }), false);
    assert.equal(failed({ protocol: 'grpc', grpcStatus: 14 }), true);
    const [, client] = spansOf(toyRequest({ trace: tracedWith({ status: 404 }) }));
    assert.equal(client?.failed, true);
  });

  it('says why a try got no response', () => {
    const trace = tracedWith({ status: undefined, error: 'UF' });
    const spans = spansOf(toyRequest({ trace, status: 503, flags: ['UF'], error: 'connection refused\n' }));
    assert.equal(spans[0]?.message, 'connection refused\\x0a');
    assert.equal(spans[0]?.attributes['error.type'], 'UF');
    assert.deepEqual(spans[0]?.attributes['loam.response_flags'], ['UF']);
    assert.equal(spans[1]?.attributes['error.type'], 'UF');
    assert.equal(spans[1]?.attributes['http.response.status_code'], undefined);
  });

  it('lets no client make names or long attributes', () => {
    const [span] = spansOf(
      toyRequest({
        trace: tracedWith(),
        method: 'EVIL',
        path: '/\u001b'.repeat(9_000),
        authority: 'x'.repeat(9_000),
      }),
    );
    assert.equal(span?.name, 'HTTP payments.shop.svc.cluster.local');
    assert.equal(span?.attributes['http.request.method'], '_OTHER');
    for (const value of Object.values(span?.attributes ?? {})) {
      assert.match(String(value), /^[\x20-\x7e]{0,1024}$/);
    }
  });

  it('makes none where the client or the ratio decided against it', () => {
    const headers: Headers = { traceparent: `00-${TRACE}-${SPAN}-00` };
    const trace = new RequestTrace(headers, { enabled: true, ratio: 1 });
    assert.deepEqual(spansOf(toyRequest({ trace })), []);
    assert.deepEqual(spansOf(toyRequest()), []);
  });

  it('bounds the tries that it keeps, and ends each once', () => {
    const trace = tracedWith(...Array.from({ length: 100 }, () => ({ status: 503 })));
    assert.equal(trace.attempts.length, 32);
    const once = tracedWith();
    const end = once.attempt({}, 0);
    end(outcome({}), 1);
    end(outcome({}), 2);
    assert.equal(once.attempts.length, 1);
  });
});

function tracedWith(...outcomes: Partial<AttemptOutcome>[]): RequestTrace {
  const trace = new RequestTrace(
    { traceparent: `00-${TRACE}-${SPAN}-01`, tracestate: 'a=1' },
    { enabled: true, ratio: 0 },
  );
  for (const changes of outcomes) trace.attempt({}, 1)(outcome(changes), 2);
  return trace;
}

function outcome(changes: Partial<AttemptOutcome>): AttemptOutcome {
  return {
    address: '198.18.0.9:8080',
    service: 'payments-v2.shop.svc.cluster.local',
    identity: 'spiffe://cluster.local/ns/shop/sa/payments-v2',
    status: 200,
    grpcStatus: undefined,
    error: undefined,
    ...changes,
  };
}
