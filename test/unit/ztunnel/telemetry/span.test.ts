import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import type { TracingRule } from '../../../../lib/mesh/telemetry/model.ts';
import type { AccessFacts, AccessOutcome } from '../../../../ztunnel/telemetry/access-record.ts';
import { connectionSpan } from '../../../../ztunnel/telemetry/span.ts';

const TRACE = '4bf92f3577b34da6a3ce929d0e0e4736';
const SPAN = '00f067aa0ba902b7';
const RULE: TracingRule = { endpoint: 'http://otel:4318', sampling: 1, tags: { team: 'blue' } };
const OUTCOME: AccessOutcome = {
  ...{ bytesSent: 5, bytesReceived: 7, durationMs: 12, flag: '-' },
  error: undefined,
  policy: undefined,
};

function facts(reporter: 'source' | 'destination', trace: string | undefined): AccessFacts {
  return {
    direction: reporter === 'source' ? 'outbound' : 'inbound',
    flow: {
      reporter,
      source: undefined,
      sourceIdentity: 'spiffe://cluster.local/ns/shop/sa/a',
      destination: undefined,
      destinationIdentity: undefined,
      service: { hostname: 'b.shop.svc.cluster.local', namespace: 'shop', name: 'b' },
      mutualTls: true,
    },
    sourceAddress: '198.18.0.1:40000',
    destinationAddress: '198.18.0.2:15008',
    hboneAddress: '198.18.0.2:80',
    trace,
  };
}

describe('ztunnel/telemetry/span', () => {
  it('is the caller’s, and below it that of the other end', () => {
    const trace = `00-${TRACE}-${SPAN}-01`;
    const caller = connectionSpan(facts('source', trace), OUTCOME, 1_000, RULE);
    const server = connectionSpan(facts('destination', trace), OUTCOME, 1_001, RULE);
    assert.ok(caller && server);
    assert.deepEqual([caller.traceId, caller.spanId, caller.parentSpanId], [TRACE, SPAN, undefined]);
    assert.deepEqual([server.traceId, server.parentSpanId], [TRACE, SPAN]);
    assert.notEqual(server.spanId, SPAN);
    assert.deepEqual([caller.kind, server.kind], ['client', 'server']);
    assert.equal(caller.name, 'TCP b.shop.svc.cluster.local');
    assert.equal(caller.endMs - caller.startMs, 12);
    assert.equal(caller.endpoint, RULE.endpoint);
    assert.partialDeepStrictEqual(caller.attributes, {
      team: 'blue',
      'network.peer.address': '198.18.0.2',
      'network.peer.port': 15008,
      'loam.mtls': true,
      'loam.bytes_sent': 5,
    });
    assert.equal('loam.policy' in caller.attributes, false);
  });

  it('is a trace of its own where no tunnel told one, or told nonsense', () => {
    for (const trace of [undefined, 'nonsense', `ff-${TRACE}-${SPAN}-01`]) {
      const span = connectionSpan(facts('destination', trace), OUTCOME, 0, RULE);
      assert.match(span?.traceId ?? '', /^[0-9a-f]{32}$/);
      assert.notEqual(span?.traceId, TRACE);
      assert.equal(span?.parentSpanId, undefined);
    }
  });

  it('fails with the flag of what failed', () => {
    const failed = { ...OUTCOME, flag: 'DENY' as const, error: 'denied', policy: 'shop/p' };
    const span = connectionSpan(facts('source', undefined), failed, 0, RULE);
    assert.equal(span?.failed, true);
    assert.equal(span.attributes['error.type'], 'DENY');
    assert.equal(span.attributes['loam.policy'], 'shop/p');
  });

  it('is recorded by the trace’s id, so that both ends decide alike', () => {
    const trace = `00-${TRACE}-${SPAN}-01`;
    for (const sampling of [0, 0.19, 0.2, 1]) {
      const both = (['source', 'destination'] as const).map(
        (end) => connectionSpan(facts(end, trace), OUTCOME, 0, { ...RULE, sampling }) !== undefined,
      );
      assert.equal(both[0], both[1]);
    }
    assert.equal(connectionSpan(facts('source', trace), OUTCOME, 0, { ...RULE, sampling: 0 }), undefined);
  });
});
