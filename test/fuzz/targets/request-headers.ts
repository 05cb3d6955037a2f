import assert from 'node:assert/strict';
import net from 'node:net';
import { parseHeaderLines } from '../engine/header-lines.ts';
import { header, type Headers, type Source } from '../../../lib/mesh/waypoint/request.ts';
import { copyHeaders, removeHopByHop, trailersOf } from '../../../waypoint/http/headers.ts';
import { remoteAddress, writeForwarded } from '../../../waypoint/http/forwarded.ts';
import { extractContext, injectContext } from '../../../waypoint/telemetry/trace-context.ts';
import { cookieValues } from '../../../waypoint/resilience/cookies.ts';
import { formatGrpcTimeout, parseGrpcTimeout } from '../../../waypoint/resilience/grpc-timeout.ts';
import { parseRetryAfter } from '../../../waypoint/resilience/retry-after.ts';
import { openSession, sealSession } from '../../../waypoint/resilience/session-token.ts';
import { allowedOrigins, isOriginPattern } from '../../../lib/mesh/waypoint/routing/filters/cors-origin.ts';
import { create } from '@bufbuild/protobuf';
import { CorsSchema } from '../../../proto/gen/loam/waypoint/v1/waypoint_pb.js';
import type { FuzzTarget } from '../engine/target.ts';

const SOURCE: Source = {
  ip: '198.18.0.7',
  port: 40_000,
  identity: { trustDomain: 'cluster.local', namespace: 'shop', serviceAccount: 'web' },
  workload: undefined,
};
const OWN = 'spiffe://cluster.local/ns/shop/sa/waypoint';
const SCOPE = { key: new Uint8Array(32), service: 'shop/web', name: 'session' };
const TRACE = { traceId: '4bf92f3577b34da6a3ce929d0e0e4736', spanId: '00f067aa0ba902b7', sampled: true };
const FRAMING = [
  'connection',
  'transfer-encoding',
  'upgrade',
  'keep-alive',
  'proxy-connection',
  'http2-settings',
];

/** Header lines of a request, as a waypoint reads and rewrites them. */
export const target: FuzzTarget = {
  name: 'request-headers',
  seeds: [
    'x-forwarded-for: 203.0.113.1, 198.51.100.2\nx-forwarded-client-cert: By=x;URI=spiffe://evil\nforwarded: for=1.2.3.4',
    'traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01\ntracestate: a=1,b=2\nbaggage: k8s.namespace.name=shop',
    'b3: 4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-1-00f067aa0ba902b7',
    'x-b3-traceid: a3ce929d0e0e4736\nx-b3-spanid: 00f067aa0ba902b7\nx-b3-sampled: 1\nx-b3-flags: 1',
    `cookie: a=1; session="${sealSession({ uid: 'u', began: 1, seen: 2 }, SCOPE)}"; session=x`,
    'grpc-timeout: 100m\nretry-after: Wed, 21 Oct 2015 07:28:00 GMT\norigin: https://a.example:8443',
    'connection: close, x-drop, host, te\nte: trailers, gzip\nx-drop: 1\nkeep-alive: 5\nupgrade: h2c\nhttp2-settings: AAA',
    'content-length: 3\nauthorization: Bearer x\nx-request-id: 1',
    '__proto__: 1\nconstructor: 2\nconnection: __proto__',
  ],
  words: [
    '203.0.113.1',
    '[2001:db8::1]:80',
    'unknown',
    '_secret',
    '99999999S',
    '120',
    '"',
    '; ',
    'https://*.example:*',
  ],
  run(input) {
    const headers = parseHeaderLines(input);
    for (const hops of [0, 1, 2]) {
      const told = remoteAddress(headers, SOURCE, hops);
      assert.notEqual(net.isIP(told), 0, 'what policy compares is an address');
      if (hops === 0) assert.equal(told, SOURCE.ip, 'nothing is believed');
      const written = copyHeaders(headers);
      writeForwarded(written, SOURCE, hops, OWN, 'web.shop');
      assert.equal(
        written['x-forwarded-client-cert'],
        `By=${OWN};URI=spiffe://cluster.local/ns/shop/sa/web`,
        'nobody but us says who the client is',
      );
      assert.ok(header(written, 'x-forwarded-for')?.endsWith(SOURCE.ip));
      if (hops === 0)
        assert.deepEqual([written['x-forwarded-for'], written['forwarded']], [SOURCE.ip, undefined]);
    }
    const context = extractContext(headers);
    if (context.traceId !== undefined) {
      assert.match(context.traceId, /^[0-9a-f]{32}$/);
      assert.notEqual(context.traceId, '0'.repeat(32));
    }
    const traced = copyHeaders(headers);
    injectContext(traced, context, { ...TRACE, sampled: context.sampled ?? true });
    const next = extractContext(traced);
    assert.equal(next.traceId, TRACE.traceId, 'the next hop reads our trace');
    assert.equal(next.sampled, context.sampled ?? true);

    const hop = copyHeaders(headers);
    removeHopByHop(hop);
    for (const name of FRAMING) assert.equal(hop[name], undefined, name);
    assert.ok(hop['te'] === undefined || hop['te'] === 'trailers');
    for (const name of ['host', 'content-length', 'authorization', 'x-forwarded-for', 'cookie'])
      assert.equal(hop[name], headers[name], `${name} is not for a client to take away`);
    for (const name of Object.keys(trailersOf(headers)))
      assert.ok(
        !['host', 'content-length', 'authorization', 'x-forwarded-for', 'traceparent', 'forwarded'].includes(
          name,
        ),
      );

    for (const value of cookieValues(header(headers, 'cookie'), 'session')) {
      const session = openSession(value, SCOPE);
      if (session !== undefined) assert.equal(sealSession(session, SCOPE), value, 'only what we sealed');
    }
    readNumbers(headers);
    readOrigin(header(headers, 'origin') ?? '');
  },
};

function readNumbers(headers: Headers): void {
  const timeout = parseGrpcTimeout(header(headers, 'grpc-timeout') ?? '');
  if (timeout !== undefined) {
    assert.ok(Number.isFinite(timeout) && timeout >= 0);
    const again = parseGrpcTimeout(formatGrpcTimeout(timeout));
    assert.ok(
      again !== undefined && (again <= timeout || timeout < 0.001),
      'never longer than the client gave',
    );
  }
  const after = parseRetryAfter(header(headers, 'retry-after') ?? '', 1_700_000_000_000);
  assert.ok(after === undefined || (Number.isFinite(after) && after >= 0));
}

function readOrigin(origin: string): void {
  const text = origin.slice(0, 300);
  if (!isOriginPattern(text) || text.includes('*')) return;
  const cors = create(CorsSchema, { allowOrigins: [text] });
  assert.ok(allowedOrigins(cors).allows(text), 'an origin allows itself');
  assert.ok(
    !allowedOrigins(create(CorsSchema, { allowOrigins: [`${text}x`] })).allows(text) || /:\d*$/.test(text),
  );
}
