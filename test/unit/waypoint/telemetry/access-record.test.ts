import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { connectionLine, requestLine } from '../../../../waypoint/telemetry/access-record.ts';
import type { WaypointFlag } from '../../../../waypoint/telemetry/response-flags.ts';
import { toyRequest } from './records.ts';

describe('waypoint/telemetry/access-record', () => {
  it("names a request's fields as ztunnel does, and adds those of its request", () => {
    const { level, message, fields } = requestLine(
      toyRequest({ dryRun: [{ policy: 'shop/strict', action: 'deny' }], fallback: true, flags: ['FB'] }),
    );
    assert.equal(level, 'info');
    assert.equal(message, 'request complete');
    // Through JSON, as it is written: what is undefined is not there.
    assert.deepEqual(JSON.parse(JSON.stringify(fields)), {
      'src.addr': '198.18.0.1:40000',
      'src.workload': 'frontend-abc',
      'src.namespace': 'shop',
      'src.identity': 'spiffe://cluster.local/ns/shop/sa/frontend',
      'src.cluster': 'Kubernetes',
      'dst.addr': '198.19.0.2:80',
      'dst.service': 'payments.shop.svc.cluster.local',
      'dst.backend': 'payments-v2.shop.svc.cluster.local',
      upstream_addr: '198.18.0.9:8080',
      'dst.workload': 'payments-v2-abc',
      'dst.namespace': 'shop',
      'dst.identity': 'spiffe://cluster.local/ns/shop/sa/payments-v2',
      'dst.cluster': 'Kubernetes',
      direction: 'waypoint',
      method: 'POST',
      authority: 'payments.shop:80',
      path: '/charge',
      protocol: 'http1',
      route: 'HTTPRoute/shop/payments#0',
      response_code: 200,
      bytes_sent: 20,
      bytes_recv: 300,
      duration: '13ms',
      upstream_duration: '11ms',
      attempts: 1,
      fallback: 'true',
      response_flags: 'FB',
      dry_run: 'shop/strict=deny',
      request_id: 'c0ffee',
    });
  });

  it('warns of what a rule or the client did, and calls an error what failed', () => {
    const level = (...flags: WaypointFlag[]) => requestLine(toyRequest({ flags })).level;
    for (const flag of ['DENY', 'JWT', 'RL', 'DPE', 'DC'] as const) assert.equal(level(flag), 'warn', flag);
    for (const flag of ['UH', 'UF', 'UT', 'UO', 'OM'] as const) assert.equal(level(flag), 'error', flag);
    assert.equal(level('FB', 'DENY'), 'warn');
    assert.equal(level('DENY', 'UF'), 'error');
    assert.equal(requestLine(toyRequest({ status: 500 })).level, 'info', "the application's own failure");
    const denied = requestLine(
      toyRequest({ flags: ['DENY'], attempts: 0, deniedBy: 'shop/only-charge', status: 403 }),
    );
    assert.equal(denied.message, 'request refused');
    assert.equal(denied.fields['policy'], 'shop/only-charge');
  });

  it('escapes and cuts what a client wrote', () => {
    const { fields } = requestLine(
      toyRequest({
        method: 'X'.repeat(10_000),
        path: '/a\r\n{"level":60}\u001b[31m\u009b\u202e\u2028\u0000é',
        authority: 'b'.repeat(100_000),
        error: '\n'.repeat(100_000),
      }),
    );
    assert.equal(fields['path'], '/a\\x0d\\x0a{"level":60}\\x1b[31m\\x9b\\u202e\\u2028\\x00\\xe9');
    assert.equal(String(fields['method']).length, 32);
    assert.match(String(fields['authority']), /^b{253}\.\.\.$/);
    assert.ok(String(fields['error']).length <= 512);
    for (const value of Object.values(fields)) assert.match(String(value), /^[\x20-\x7e]*$/);
  });

  it('tells of an opaque connection', () => {
    const { source, requested, backend, upstream, destinationAddress } = toyRequest();
    const common = {
      source,
      requested,
      backend,
      destinationAddress,
      durationMs: 1,
      requestBytes: 1,
      responseBytes: 2,
    };
    const done = connectionLine({ ...common, upstream, flags: [], deniedBy: undefined, error: undefined });
    assert.deepEqual(
      [done.level, done.message, done.fields['bytes_sent']],
      ['info', 'connection complete', 2],
    );
    const denied = connectionLine({
      ...common,
      upstream: undefined,
      flags: ['DENY'],
      deniedBy: 'a/b',
      error: 'denied',
    });
    assert.deepEqual(
      [denied.level, denied.message, denied.fields['policy']],
      ['warn', 'connection failed', 'a/b'],
    );
  });
});
