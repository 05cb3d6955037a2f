import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { parseAccessLine } from '../../../../cli/demo/access-log.ts';
import { parseRequestLine } from '../../../../cli/demo/request-log.ts';

// As waypoint/telemetry/access-record.ts writes it.
const LINE = {
  ...{ level: 'info', time: '2026-01-01T00:00:00Z', scope: 'access', msg: 'request complete' },
  ...{ 'src.addr': '198.18.1.2:40000', 'src.workload': 'frontend', 'src.namespace': 'shop' },
  'src.identity': 'spiffe://cluster.local/ns/shop/sa/frontend',
  'dst.addr': '198.18.24.3:80',
  'dst.service': 'auth.shop.svc.cluster.local',
  'dst.backend': 'auth-fallback.shop.svc.cluster.local',
  ...{ upstream_addr: '198.18.1.9:80', 'dst.workload': 'auth-fallback', 'dst.namespace': 'shop' },
  'dst.identity': 'spiffe://cluster.local/ns/shop/sa/auth-fallback',
  ...{ direction: 'waypoint', method: 'POST', authority: 'auth', path: '/sign-in', protocol: 'http1' },
  ...{ route: 'HTTPRoute/shop/auth#0', response_code: 200, bytes_sent: 40, bytes_recv: 20 },
  ...{ duration: '7ms', attempts: 2, fallback: 'true', response_flags: 'FB,URX', request_id: 'r' },
};

describe("demo: a waypoint's access log", () => {
  it('reads the end of a request', () => {
    assert.deepEqual(parseRequestLine(JSON.stringify(LINE)), {
      source: 'shop/frontend',
      sourceIdentity: 'spiffe://cluster.local/ns/shop/sa/frontend',
      service: 'auth.shop.svc.cluster.local',
      backend: 'auth-fallback.shop.svc.cluster.local',
      destination: 'shop/auth-fallback',
      destinationIdentity: 'spiffe://cluster.local/ns/shop/sa/auth-fallback',
      ...{ method: 'POST', path: '/sign-in', route: 'HTTPRoute/shop/auth#0', status: 200, attempts: 2 },
      ...{ fallback: true, flags: ['FB', 'URX'], durationMs: 7 },
    });
    assert.equal(parseAccessLine(JSON.stringify(LINE)), undefined, 'it is no connection of a ztunnel');
  });

  it('reads a denial, which has no endpoint', () => {
    const line = {
      ...{ scope: 'access', direction: 'waypoint', method: 'GET', path: '/charges', response_code: 403 },
      ...{ response_flags: 'DENY', policy: 'shop/p', attempts: 0, error: 'no policy allows it' },
    };
    assert.deepEqual(parseRequestLine(JSON.stringify(line)), {
      ...{ method: 'GET', path: '/charges', status: 403, attempts: 0, fallback: false, flags: ['DENY'] },
      ...{ durationMs: 0, policy: 'shop/p', error: 'no policy allows it' },
    });
  });

  it('passes over everything else', () => {
    const { response_code: _, ...connection } = LINE;
    for (const other of [
      connection,
      { ...LINE, scope: 'xds' },
      { ...LINE, direction: 'inbound' },
      { ...LINE, response_code: '200' },
      null,
      7,
    ])
      assert.equal(parseRequestLine(JSON.stringify(other)), undefined);
    assert.equal(parseRequestLine('{"scope":"acc'), undefined);
  });
});
