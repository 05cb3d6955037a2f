import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'mocha';
import { eventually, Mesh } from '../mesh/harness.ts';
import { buildCollector, OtelCollector, type ReceivedSpan } from '../support/otel-collector.ts';
import { relay, shopFiles, withAnnotations } from './shop.ts';

const BUILD_AND_START_MS = 900_000;
/** Inside the waypoint's own network namespace. */
const COLLECTOR = { ip: '127.0.0.1', port: 4318 } as const;
const TRACE = '463ac35c9f6413ad48485a3953bb6124';
const PARENT = 'a2fb4a1d1a96d312';

/** What became of one request at the waypoint. */
interface Hop {
  readonly server: ReceivedSpan;
  /** In the order of the tries. */
  readonly tries: readonly ReceivedSpan[];
}

/** What a relay answered. */
interface Told {
  readonly headers: Readonly<Record<string, string>>;
  readonly next?: Told;
}

const hostOf = (service: string): string => `${service}.shop.svc.cluster.local`;
const ofTrace = (spans: readonly ReceivedSpan[], id: string): ReceivedSpan[] =>
  spans.filter(({ traceId }) => traceId === id);
const attribute = (span: ReceivedSpan, name: string): unknown => span.attributes[`loam.${name}`];

/** The request to a Service within the spans of one trace; undefined while not all of its spans are there. */
function hopTo(trace: readonly ReceivedSpan[], service: string): Hop | undefined {
  const server = trace.find(
    (span) => span.kind === 'server' && attribute(span, 'service') === hostOf(service),
  );
  if (server === undefined) return undefined;
  const tries = trace
    .filter(({ kind, parentSpanId }) => kind === 'client' && parentSpanId === server.spanId)
    .sort((a, b) => Number(a.start - b.start));
  return tries.length === attribute(server, 'attempts') ? { server, tries } : undefined;
}

describe('traces of the shop, as an OpenTelemetry Collector received them', () => {
  let folder: string;
  let mesh: Mesh;
  let collector: OtelCollector | undefined;
  /** Of the nodes' ztunnels: in each network the same address, as the waypoint's. */
  const ofNodes: OtelCollector[] = [];

  before(async function () {
    this.timeout(BUILD_AND_START_MS);
    buildCollector();
    folder = mkdtempSync(join(tmpdir(), 'loam-trace-'));
    const shop = shopFiles();
    mesh = await Mesh.up({
      ...shop,
      'waypoint.yaml': withAnnotations(shop['waypoint.yaml'] ?? '', {
        'loam.dev/otlp-endpoint': `http://${COLLECTOR.ip}:${COLLECTOR.port}`,
        'loam.dev/trace-sampling': '1',
      }),
      'settings.yaml': JSON.stringify({
        ...{ apiVersion: 'loam.dev/v1', kind: 'MeshSettings', metadata: { name: 'mesh' } },
        spec: {
          telemetryProviders: [
            { name: 'collector', otlp: { endpoint: `http://${COLLECTOR.ip}:${COLLECTOR.port}` } },
          ],
        },
      }),
      'telemetry.yaml': JSON.stringify({
        ...{ apiVersion: 'telemetry.istio.io/v1', kind: 'Telemetry' },
        metadata: { name: 'traces', namespace: 'shop' },
        spec: { tracing: [{ providers: [{ name: 'collector' }], randomSamplingPercentage: 100 }] },
      }),
      'relay.yaml': relay('relay', 'node-a', 'http://echo/') + relay('echo', 'node-b'),
      'chain.yaml':
        relay('chain-auth', 'node-b', 'http://chain-backend/') +
        relay('chain-backend', 'node-a', 'http://chain-database/') +
        relay('chain-database', 'node-b'),
    });
    const netns = mesh.netns({ kind: 'waypoint', namespace: 'shop', name: 'waypoint', index: 0 });
    collector = await OtelCollector.start({ folder, netns, listen: COLLECTOR });
    for (const node of ['node-a', 'node-b'])
      ofNodes.push(
        await OtelCollector.start({
          folder: join(folder, node),
          netns: mesh.netns({ kind: 'node', node }),
          listen: COLLECTOR,
        }),
      );
  });

  after(async function () {
    this.timeout(60_000);
    await collector?.stop();
    for (const each of ofNodes) await each.stop();
    await mesh.down();
    rmSync(folder, { recursive: true, force: true });
  });

  /** Waits for an order whose hops all are as described, and gives its spans. */
  async function order(
    what: string,
    like: (auth: Hop, payments: Hop, backend: Hop) => boolean,
  ): Promise<{ spans: ReceivedSpan[]; auth: Hop; payments: Hop; backend: Hop }> {
    assert.ok(collector);
    const find = (spans: readonly ReceivedSpan[]) => {
      for (const spansOfOrder of Map.groupBy(spans, ({ traceId }) => traceId).values()) {
        const [auth, payments, backend] = ['auth', 'payments', 'backend'].map((service) =>
          hopTo(spansOfOrder, service),
        );
        if (auth && payments && backend && like(auth, payments, backend))
          return { spans: spansOfOrder, auth, payments, backend };
      }
      return undefined;
    };
    const found = find(await collector.waitFor(what, (spans) => find(spans) !== undefined));
    assert.ok(found);
    return found;
  }

  it('show an order as one trace through frontend, auth, payments and backend', async () => {
    const { spans, auth, payments, backend } = await order('a plain order', (...hops) =>
      hops.every(
        ({ tries, server }) => tries.length === 1 && attribute(server, 'response_flags') === undefined,
      ),
    );
    assert.equal(spans.length, 6, 'nothing else is of this trace');
    assert.match(auth.server.parentSpanId, /^[0-9a-f]{16}$/, "the frontend's own span");
    assert.ok(!spans.some(({ spanId }) => spanId === auth.server.parentSpanId), 'which it does not export');
    assert.equal(payments.server.parentSpanId, auth.server.parentSpanId);
    assert.equal(backend.server.parentSpanId, payments.tries[0]?.spanId, 'payments handed it on');
    assert.ok(payments.server.start >= auth.server.end, 'first auth, then payments');
    for (const inner of [payments.tries[0], backend.server, backend.tries[0]]) {
      assert.ok(inner && inner.start >= payments.server.start && inner.end <= payments.server.end);
    }
    for (const [hop, name] of [
      [auth, 'auth'],
      [payments, 'payments'],
      [backend, 'backend'],
    ] as const) {
      assert.equal(hop.server.name, `POST ${hostOf(name)}`);
      assert.equal(hop.server.service, 'waypoint.shop');
      assert.equal(hop.server.resource['k8s.node.name'], 'node-b');
      assert.equal(hop.server.failed, false);
    }
  });

  it('tell who, whom, by which route and with what result', async () => {
    const { payments } = await order('a plain order', (_, paid) => paid.tries.length === 1);
    const { attributes } = payments.server;
    const version = String(attributes['loam.backend']);
    assert.match(version, /^payments-v[12]\.shop\.svc\.cluster\.local$/);
    const expected = {
      'http.request.method': 'POST',
      'http.response.status_code': 200,
      'url.path': '/charge',
      'url.scheme': 'http',
      'server.address': 'payments',
      'network.protocol.version': '1.1',
      'client.address': (await mesh.pod('shop/frontend')).ip,
      'loam.service': hostOf('payments'),
      'loam.route': 'HTTPRoute/shop/payments#0',
      'loam.attempts': 1,
      'loam.source.identity': 'spiffe://cluster.local/ns/shop/sa/frontend',
      'loam.source.workload': 'frontend',
      'loam.source.namespace': 'shop',
      'loam.destination.identity': 'spiffe://cluster.local/ns/shop/sa/payments',
      'loam.destination.namespace': 'shop',
    };
    assert.partialDeepStrictEqual(attributes, expected);
    const [only] = payments.tries;
    assert.ok(only);
    const pod = await mesh.pod(String(attributes['loam.destination.workload']));
    assert.partialDeepStrictEqual(only.attributes, {
      'server.address': version,
      'network.peer.address': pod.ip,
      'network.peer.port': 80,
      'http.response.status_code': 200,
      'loam.destination.identity': 'spiffe://cluster.local/ns/shop/sa/payments',
    });
    assert.equal(only.attributes['http.request.resend_count'], undefined);
  });

  it('show a retry as a try of its own, and what came of the one that worked below that one', async () => {
    const { payments, backend } = await order(
      'an order that was tried again',
      (_, paid) => paid.tries.length > 1 && attribute(paid.server, 'response_flags') === undefined,
    );
    const [first, second] = payments.tries;
    assert.ok(first && second);
    assert.equal(first.attributes['server.address'], hostOf('payments-v2'));
    assert.equal(first.attributes['http.response.status_code'], 503);
    assert.equal(first.attributes['http.request.resend_count'], undefined);
    assert.equal(first.failed, true);
    assert.equal(second.attributes['http.request.resend_count'], 1);
    assert.ok(second.start >= first.end);
    const last = payments.tries.at(-1);
    assert.equal(last?.attributes['http.response.status_code'], 200);
    assert.equal(backend.server.parentSpanId, last.spanId);
    assert.equal(payments.server.failed, false, 'who paid saw nothing of it');
    assert.equal(payments.server.attributes['http.response.status_code'], 200);
  });

  it('show what the fallback answered', async () => {
    const { auth } = await order(
      'an order while auth was down',
      (signIn) => attribute(signIn.server, 'backend') === hostOf('auth-fallback'),
    );
    const flags = attribute(auth.server, 'response_flags') as string[];
    assert.equal(flags.at(-1), 'FB');
    assert.match(flags.join(), /^U[CFR],FB$/, 'and why the Service itself did not answer');
    assert.equal(auth.server.attributes['http.response.status_code'], 200);
    const [tried, answered] = auth.tries;
    assert.ok(tried && answered);
    assert.equal(tried.attributes['server.address'], hostOf('auth'));
    assert.equal(tried.attributes['http.response.status_code'], undefined);
    assert.equal(tried.failed, true);
    assert.equal(answered.attributes['server.address'], hostOf('auth-fallback'));
    assert.equal(answered.attributes['http.response.status_code'], 200);
  });

  it('show a denied request as a trace of its own that no application saw', async () => {
    assert.ok(collector);
    const isDenied = (span: ReceivedSpan): boolean => span.attributes['url.path'] === '/charges';
    const spans = await collector.waitFor('a denied request', (all) => all.some(isDenied));
    const denied = spans.find(isDenied);
    assert.ok(denied);
    assert.equal(denied.parentSpanId, '', 'the waypoint began it');
    assert.equal(denied.attributes['http.response.status_code'], 403);
    assert.deepEqual(denied.attributes['loam.response_flags'], ['DENY']);
    assert.equal(ofTrace(spans, denied.traceId).length, 1);
  });

  it('show a connection between two nodes as one trace of both ztunnels, where Telemetry asks for it', async () => {
    const [there] = await Promise.all(
      ofNodes.map((each) => each.waitFor('spans of connections', (spans) => spans.length > 0)),
    );
    assert.ok(there);
    const pairOf = (): [ReceivedSpan, ReceivedSpan] | undefined => {
      const all = ofNodes.flatMap((each) => each.spans());
      for (const server of all.filter(({ kind, parentSpanId }) => kind === 'server' && parentSpanId !== '')) {
        const caller = all.find(({ spanId }) => spanId === server.parentSpanId);
        if (caller !== undefined) return [caller, server];
      }
      return undefined;
    };
    const [caller, server] = await eventually('both ends of a connection', pairOf);
    assert.equal(caller.traceId, server.traceId);
    assert.equal(caller.kind, 'client');
    assert.equal(caller.parentSpanId, '');
    for (const span of [caller, server]) {
      assert.equal(span.service, 'ztunnel');
      assert.match(span.name, /^TCP /);
      assert.equal(attribute(span, 'mtls'), true);
      assert.match(String(attribute(span, 'source.identity')), /^spiffe:\/\/cluster\.local\/ns\/shop\/sa\//);
      assert.equal(attribute(span, 'source.identity'), attribute(caller, 'source.identity'));
    }
  });

  async function askRelay(...headers: readonly string[]): Promise<{ relay: Told; echo: Told }> {
    const args = headers.flatMap((header) => ['-H', header]);
    const { stdout, stderr } = await mesh.exec('shop/frontend', 'curl', '-sSf', ...args, 'http://relay/');
    assert.equal(stderr, '');
    const told = JSON.parse(stdout) as Told;
    assert.ok(told.next);
    return { relay: told, echo: told.next };
  }

  async function hopsOf(trace: string, parent: string): Promise<{ relay: string; echo: string }> {
    assert.ok(collector);
    const whole = (all: readonly ReceivedSpan[]): boolean =>
      ['relay', 'echo'].every((service) => hopTo(ofTrace(all, trace), service) !== undefined);
    const spans = ofTrace(await collector.waitFor(`trace ${trace}`, whole), trace);
    const [relayed, echoed] = [hopTo(spans, 'relay'), hopTo(spans, 'echo')];
    assert.ok(relayed?.tries[0] && echoed?.tries[0]);
    assert.equal(spans.length, 4);
    assert.equal(relayed.server.parentSpanId, parent);
    assert.equal(echoed.server.parentSpanId, relayed.tries[0].spanId);
    return { relay: relayed.tries[0].spanId, echo: echoed.tries[0].spanId };
  }

  it('show the whole chain of frontend, auth, backend and a database that speaks HTTP as one trace', async () => {
    assert.ok(collector);
    const trace = TRACE.replace('463', '888');
    const chain = ['chain-auth', 'chain-backend', 'chain-database'];
    const header = `traceparent: 00-${trace}-${PARENT}-01`;
    await mesh.exec('shop/frontend', 'curl', '-sSf', '-H', header, 'http://chain-auth/');
    const whole = (all: readonly ReceivedSpan[]): boolean =>
      chain.every((service) => hopTo(ofTrace(all, trace), service) !== undefined);
    const spans = ofTrace(await collector.waitFor(`trace ${trace}`, whole), trace);
    assert.equal(spans.length, 6);
    let parent = PARENT;
    for (const [at, service] of chain.entries()) {
      const hop = hopTo(spans, service);
      assert.ok(hop?.tries[0]);
      assert.equal(hop.server.parentSpanId, parent, service);
      const caller = ['frontend', ...chain][at] ?? '';
      assert.equal(attribute(hop.server, 'source.identity'), `spiffe://cluster.local/ns/shop/sa/${caller}`);
      parent = hop.tries[0].spanId;
    }
  });

  it('hold together by B3 in one header', async () => {
    const { relay: first, echo } = await askRelay(`b3: ${TRACE}-${PARENT}-1`);
    const spans = await hopsOf(TRACE, PARENT);
    assert.equal(first.headers['b3'], `${TRACE}-${spans.relay}-1`);
    assert.equal(echo.headers['b3'], `${TRACE}-${spans.echo}-1`);
    assert.equal(echo.headers['traceparent'], undefined);
  });

  it('hold together by B3 in several headers, with an id of 64 bits', async () => {
    const short = TRACE.slice(16).replace('4', '5');
    const { relay: first, echo } = await askRelay(
      ...[`x-b3-traceid: ${short}`, `x-b3-spanid: ${PARENT}`, 'x-b3-sampled: 1'],
    );
    const spans = await hopsOf(short.padStart(32, '0'), PARENT);
    for (const [headers, span] of [
      [first.headers, spans.relay],
      [echo.headers, spans.echo],
    ] as const) {
      assert.equal(headers['x-b3-traceid'], short);
      assert.equal(headers['x-b3-spanid'], span);
      assert.equal(headers['x-b3-sampled'], '1');
      assert.equal(headers['traceparent'], undefined);
    }
  });

  it('leave out what the client does not want recorded, and hand its decision on', async () => {
    assert.ok(collector);
    const unwanted = TRACE.replace('463', '999');
    const sent = `00-${unwanted}-${PARENT}-00`;
    const { relay: first, echo } = await askRelay(`traceparent: ${sent}`, 'tracestate: a=b');
    assert.equal(first.headers['traceparent'], sent);
    assert.equal(echo.headers['traceparent'], sent);
    assert.equal(echo.headers['tracestate'], 'a=b');
    // A later trace is there: so would be this one.
    const later = TRACE.replace('463', '777');
    await askRelay(`traceparent: 00-${later}-${PARENT}-01`);
    await hopsOf(later, PARENT);
    assert.deepEqual(ofTrace(collector.spans(), unwanted), []);
  });
});
