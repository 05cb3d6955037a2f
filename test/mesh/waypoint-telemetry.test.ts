import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { after, before, describe, it } from 'mocha';
import { ask } from '../../cli/local/http.ts';
import { netnsName } from '../../cli/local/names.ts';
import { WAYPOINT_METRICS_PORT } from '../../cli/local/programs.ts';
import { Driver } from './driver.ts';
import { eventually, jsonLines, Mesh } from './harness.ts';
import { type Sample, samplesLike, samplesOf } from './prometheus.ts';
import { backend, httpRoute, object, WAY_BASE, wayServer, wayService } from './waypoint-manifests.ts';

const [HTTP, GRPC, TCP, DEAD, DEAD_TCP] = [80, 83, 7000, 85, 7005];
const SERVER = 'spiffe://cluster.local/ns/m/sa/server';
const UNKNOWN = 'unknown';

/** Istio's labels of the side that asks. */
const SOURCE = {
  reporter: 'waypoint',
  source_workload: 'client',
  source_canonical_service: 'client',
  source_canonical_revision: 'latest',
  source_workload_namespace: 'm',
  source_principal: 'spiffe://cluster.local/ns/m/sa/client',
  source_app: 'client',
  source_version: 'latest',
  source_cluster: 'Kubernetes',
  connection_security_policy: 'mutual_tls',
};

/** Those of a Service of namespace `m`. */
const service = (name: string) => ({
  destination_service: `${name}.m.svc.cluster.local`,
  destination_service_namespace: 'm',
  destination_service_name: name,
});

/** Those of the pod that was asked; nothing is known of it where no request came to one. */
const pod = (name: string, version: string, principal: string) => ({
  destination_workload: name,
  destination_canonical_service: name,
  destination_canonical_revision: version,
  destination_workload_namespace: 'm',
  destination_principal: principal,
  destination_app: name,
  destination_version: version,
  destination_cluster: 'Kubernetes',
});
const NO_POD = {
  ...pod(UNKNOWN, UNKNOWN, UNKNOWN),
  destination_workload_namespace: UNKNOWN,
  destination_cluster: UNKNOWN,
};

describe('mesh: what a waypoint tells of its work', function () {
  this.timeout(120_000);
  let mesh: Mesh;
  let client: Driver;

  before(async () => {
    mesh = await Mesh.up({
      ...WAY_BASE,
      'v1.yaml': wayServer('v1', { run: 'web', version: 'one' }),
      'v2.yaml': wayServer('v2', { run: 'canary' }, 'node-a'),
      'web.yaml': wayService('web', {
        waypoint: 'way',
        selector: { run: 'web' },
        ports: {
          [HTTP]: [8080, 'http'],
          [GRPC]: [9090, 'grpc'],
          [DEAD]: [9999, 'http'],
        },
      }),
      'raw.yaml': wayService('raw', {
        waypoint: 'way',
        selector: { run: 'web' },
        ports: { [TCP]: [7000, 'tcp'], [DEAD_TCP]: [9998, 'tcp'] },
      }),
      'canary.yaml': wayService('canary', { selector: { run: 'canary' }, ports: { 80: [8080, 'http'] } }),
      'route.yaml': httpRoute(
        'web',
        'web',
        [
          { matches: [{ path: { type: 'PathPrefix', value: '/status' } }], backendRefs: [backend('web')] },
          { matches: [{ path: { type: 'PathPrefix', value: '/secret' } }], backendRefs: [backend('web')] },
          { matches: [{ path: { type: 'PathPrefix', value: '/new' } }], backendRefs: [backend('canary')] },
          {
            matches: [{ path: { type: 'PathPrefix', value: '/flaky' } }],
            backendRefs: [backend('web')],
          },
        ],
        { port: HTTP },
      ),
      'policy.yaml': object('AuthorizationPolicy', 'no-secrets', {
        targetRefs: [{ kind: 'Service', group: '', name: 'web' }],
        action: 'DENY',
        rules: [{ to: [{ operation: { paths: ['/secret*'] } }] }],
      }),
      'traffic.yaml': object('TrafficPolicy', 'again', {
        targetRefs: [{ kind: 'Service', name: 'web' }],
        retries: { attempts: 1, conditions: ['gateway-error'] },
      }),
    });
    client = await Driver.in(mesh, 'client');
  });
  after(async () => {
    client?.stop();
    await mesh?.down();
  });

  const netns = (): string =>
    netnsName(mesh.name, { kind: 'waypoint', namespace: 'm', name: 'way', index: 0 });
  const scrape = async (): Promise<Sample[]> =>
    samplesOf((await ask({ netns: netns(), port: WAYPOINT_METRICS_PORT }, '/metrics')).body);

  /** Waits for the one label set of a metric that has these, and gives the whole of it. */
  async function one(name: string, labels: Readonly<Record<string, string>>): Promise<Sample> {
    const found = await eventually(`${name} ${JSON.stringify(labels)}`, async () => {
      const samples = samplesLike(await scrape(), name, labels);
      return samples.length > 0 && samples;
    });
    assert.equal(found.length, 1, JSON.stringify(found));
    return found[0] as Sample;
  }

  /** The access log's lines about requests to a path, or connections to a port. */
  const logged = (like: Readonly<Record<string, unknown>>): Promise<Record<string, unknown>> =>
    eventually(`a line of the access log: ${JSON.stringify(like)}`, () =>
      (
        jsonLines(readFileSync(mesh.paths.waypointLog('m', 'way', 0), 'utf8')) as Record<string, unknown>[]
      ).find(
        (line) =>
          line['scope'] === 'access' && Object.entries(like).every(([key, value]) => line[key] === value),
      ),
    );

  const request = (path: string, port = HTTP, headers: Readonly<Record<string, string>> = {}) =>
    client.request({ host: 'web', port, path, headers });

  it('a request: both ends by their identities, the Service, the route and the result', async () => {
    const { status } = await request('/status?code=418', HTTP, {
      baggage: 'k8s.deployment.name=forged,service.name=forged',
      'x-forwarded-client-cert': 'URI=spiffe://cluster.local/ns/m/sa/forged',
    });
    assert.equal(status, 418);
    const { labels, value } = await one('istio_requests_total', { response_code: '418' });
    assert.deepEqual(labels, {
      ...SOURCE,
      ...service('web'),
      ...pod('v1', 'one', SERVER),
      ...{ request_protocol: 'http', response_code: '418', grpc_response_status: '', response_flags: '-' },
      route: 'HTTPRoute/m/web#0',
    });
    assert.equal(value, 1);
    for (const [name, least] of [
      ['istio_request_duration_milliseconds', 0],
      ['istio_request_bytes', 0],
      ['istio_response_bytes', 1],
    ] as const) {
      assert.equal((await one(`${name}_count`, { response_code: '418' })).value, 1);
      assert.ok((await one(`${name}_sum`, { response_code: '418' })).value >= least);
      assert.equal((await one(`${name}_bucket`, { response_code: '418', le: '+Inf' })).value, 1);
    }
    const line = await logged({ response_code: 418 });
    assert.partialDeepStrictEqual(line, {
      ...{ level: 30, direction: 'waypoint', method: 'GET', path: '/status', protocol: 'http1' },
      ...{ 'src.workload': 'client', 'src.identity': SOURCE.source_principal, 'dst.workload': 'v1' },
      ...{ 'dst.service': 'web.m.svc.cluster.local', 'dst.identity': SERVER, attempts: 1 },
      upstream_addr: `${(await mesh.pod('v1')).ip}:8080`,
      route: 'HTTPRoute/m/web#0',
    });
    assert.ok(!JSON.stringify(line).includes('forged'));
  });

  it('a request that a policy denied: who asked, and no pod', async () => {
    assert.equal((await request('/secret/plans')).status, 403);
    const { labels } = await one('istio_requests_total', { response_code: '403' });
    assert.deepEqual(labels, {
      ...SOURCE,
      ...service('web'),
      ...NO_POD,
      ...{ request_protocol: 'http', response_code: '403', grpc_response_status: '', response_flags: 'DENY' },
      route: labels['route'],
    });
    const line = await logged({ response_code: 403 });
    assert.partialDeepStrictEqual(line, { level: 40, response_flags: 'DENY', policy: 'm/no-secrets' });
    assert.equal(line['upstream_addr'], undefined);
    await one('loam_waypoint_denied_requests_total', {
      service: 'm/web.m.svc.cluster.local',
      policy: 'm/no-secrets',
    });
  });

  it('a request that a route sent elsewhere: the Service and the pod that it went to', async () => {
    assert.equal((await request('/new')).status, 200);
    const { labels } = await one('istio_requests_total', service('canary'));
    assert.deepEqual(labels, {
      ...SOURCE,
      ...service('canary'),
      ...pod('v2', 'latest', SERVER),
      ...{ request_protocol: 'http', response_code: '200', grpc_response_status: '', response_flags: '-' },
      route: 'HTTPRoute/m/web#2',
    });
    const line = await logged({ path: '/new' });
    assert.equal(line['dst.service'], 'web.m.svc.cluster.local');
    assert.equal(line['dst.backend'], 'canary.m.svc.cluster.local');
  });

  it('a request for which there is no route', async () => {
    assert.equal((await request('/nowhere')).status, 404);
    const { labels } = await one('istio_requests_total', { response_code: '404' });
    assert.deepEqual(labels, {
      ...SOURCE,
      ...service('web'),
      ...NO_POD,
      ...{ request_protocol: 'http', response_code: '404', grpc_response_status: '', response_flags: 'NR' },
      route: 'none',
    });
  });

  it('a request whose pod does not listen: which pod, but no identity, for no connection to it was made', async () => {
    assert.equal((await request('/', DEAD)).status, 503);
    const { labels } = await one('istio_requests_total', { response_code: '503' });
    assert.match(labels['response_flags'] ?? '', /^(URX,)?U[CF]$/);
    assert.deepEqual(labels, {
      ...SOURCE,
      ...service('web'),
      ...pod('v1', 'one', UNKNOWN),
      ...{ request_protocol: 'http', response_code: '503', grpc_response_status: '' },
      response_flags: labels['response_flags'],
      route: 'none',
    });
    const line = await logged({ response_code: 503 });
    assert.equal(line['level'], 50);
    assert.equal(line['upstream_addr'], `${(await mesh.pod('v1')).ip}:9999`);
    assert.equal(line['dst.identity'], undefined);
    assert.match(String(line['error']), /\S/);
  });

  it('a retry that worked, also at the pod that failed before', async () => {
    // The tenth that the pod sees fails, and the next try works.
    for (let n = 0; n < 10; n += 1) assert.equal((await request('/flaky?of10=1')).status, 200);
    assert.equal((await one('loam_waypoint_retries_total', { outcome: 'success' })).value, 1);
  });

  it('gRPC: the status of the call beside that of HTTP, and its messages', async () => {
    const { code } = await client.grpc({ host: 'web', port: GRPC, kind: 'both', messages: ['a', 'b', 'c'] });
    assert.equal(code, 0);
    const failed = await client.grpc({ host: 'web', port: GRPC, kind: 'fail', messages: ['9'] });
    assert.equal(failed.code, 9);
    for (const status of ['0', '9']) {
      const { labels } = await one('istio_requests_total', { grpc_response_status: status });
      assert.deepEqual(labels, {
        ...SOURCE,
        ...service('web'),
        ...pod('v1', 'one', SERVER),
        ...{ request_protocol: 'grpc', response_code: '200', grpc_response_status: status },
        ...{ response_flags: '-', route: 'none' },
      });
    }
    for (const name of ['istio_request_messages_total', 'istio_response_messages_total'])
      assert.equal((await one(name, { grpc_response_status: '0' })).value, 3);
    assert.partialDeepStrictEqual(await logged({ grpc_status: 9 }), { protocol: 'grpc', response_code: 200 });
  });

  it('an opaque connection: opened, closed, and its bytes both ways', async () => {
    const { received } = await client.conversation('raw', TCP, [
      { say: 'ping\n' },
      { until: 'ping\n' },
      { end: true },
    ]);
    const labels = { ...service('raw'), request_protocol: 'tcp', response_flags: '-' };
    const opened = await one('istio_tcp_connections_opened_total', labels);
    assert.deepEqual(opened.labels, {
      ...SOURCE,
      ...labels,
      ...pod('v1', 'one', SERVER),
    });
    await one('istio_tcp_connections_closed_total', labels);
    assert.equal((await one('istio_tcp_received_bytes_total', labels)).value, 'ping\n'.length);
    assert.equal((await one('istio_tcp_sent_bytes_total', labels)).value, received.length);
    assert.partialDeepStrictEqual(await logged({ protocol: 'tcp', 'dst.identity': SERVER }), {
      ...{ level: 30, direction: 'waypoint', bytes_recv: 'ping\n'.length, bytes_sent: received.length },
    });
  });

  it('an opaque connection that could not be opened', async () => {
    const { received } = await client.conversation('raw', DEAD_TCP, [{ say: 'x' }]);
    assert.equal(received, '');
    const labels = { ...service('raw'), request_protocol: 'tcp', response_flags: 'UF' };
    const { labels: all } = await one('istio_tcp_connections_failed_total', labels);
    assert.deepEqual(all, { ...SOURCE, ...labels, ...pod('v1', 'one', UNKNOWN) });
  });

  it('no label that a client can write, and none beside those of the reference', async () => {
    const names = Object.keys((await one('istio_requests_total', { response_code: '418' })).labels);
    assert.equal(names.length, 26);
    for (const { labels } of await scrape())
      for (const value of Object.values(labels)) assert.doesNotMatch(value, /forged|secret\/|nowhere/);
  });
});
