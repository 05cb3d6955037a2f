import assert from 'node:assert/strict';
import { after, before, describe, it } from 'mocha';
import { Driver, type RequestOptions } from './driver.ts';
import { eventually, Mesh } from './harness.ts';
import { podManifest } from './manifests.ts';
import {
  backend,
  httpRoute,
  object,
  WAY_BASE,
  wayLine,
  wayServer,
  wayService,
} from './waypoint-manifests.ts';

const prefix = (value: string): object => ({ path: { type: 'PathPrefix', value } });
const strip = {
  type: 'URLRewrite',
  urlRewrite: { path: { type: 'ReplacePrefixMatch', replacePrefixMatch: '/' } },
};
const to = (name: string): object[] => [backend(name)];
const V1 = to('v1');
const V2 = to('v2');

const RULES = [
  { matches: [{ headers: [{ name: 'X-To', value: 'v2' }] }], backendRefs: V2 },
  {
    matches: [{ headers: [{ type: 'RegularExpression', name: 'x-to', value: 'v[2-9]+' }], method: 'PUT' }],
    backendRefs: V2,
  },
  { matches: [{ path: { type: 'Exact', value: '/exact' } }], backendRefs: V2 },
  { matches: [prefix('/pre')], backendRefs: V2 },
  { matches: [{ path: { type: 'RegularExpression', value: '/re/[0-9]+' } }], backendRefs: V2 },
  { matches: [{ queryParams: [{ name: 'to', value: 'v2' }] }, { method: 'DELETE' }], backendRefs: V2 },
  {
    matches: [prefix('/redirect')],
    filters: [
      {
        type: 'RequestRedirect',
        requestRedirect: {
          scheme: 'https',
          hostname: 'new.example',
          port: 8443,
          path: { type: 'ReplacePrefixMatch', replacePrefixMatch: '/moved' },
          statusCode: 308,
        },
      },
    ],
  },
  {
    matches: [prefix('/rewrite')],
    filters: [
      {
        type: 'URLRewrite',
        urlRewrite: {
          hostname: 'inside.example',
          path: { type: 'ReplacePrefixMatch', replacePrefixMatch: '/rewritten' },
        },
      },
    ],
    backendRefs: V1,
  },
  {
    matches: [prefix('/headers')],
    filters: [
      {
        type: 'RequestHeaderModifier',
        requestHeaderModifier: {
          set: [{ name: 'x-set', value: 'set' }],
          add: [{ name: 'x-added', value: 'added' }],
          remove: ['x-removed'],
        },
      },
      {
        type: 'ResponseHeaderModifier',
        responseHeaderModifier: { set: [{ name: 'x-response', value: 'set' }], remove: ['content-type'] },
      },
    ],
    backendRefs: [
      backend('v1', 1, {
        filters: [
          {
            type: 'RequestHeaderModifier',
            requestHeaderModifier: { set: [{ name: 'x-backend', value: 'v1' }] },
          },
        ],
      }),
    ],
  },
  {
    matches: [prefix('/mirror-me')],
    filters: [{ type: 'RequestMirror', requestMirror: { backendRef: { name: 'v2', port: 80 } } }],
    backendRefs: V1,
  },
  { matches: [prefix('/timeout')], filters: [strip], timeouts: { request: '200ms' }, backendRefs: V1 },
  {
    matches: [prefix('/try')],
    filters: [strip],
    timeouts: { request: '10s', backendRequest: '200ms' },
    retry: { attempts: 2, backoff: '1ms', codes: [504] },
    backendRefs: to('both'),
  },
  {
    matches: [prefix('/retry')],
    filters: [strip],
    retry: { attempts: 3, backoff: '1ms', codes: [503] },
    backendRefs: to('both'),
  },
  {
    matches: [prefix('/cors')],
    filters: [
      {
        type: 'CORS',
        cors: {
          allowOrigins: ['https://shop.example'],
          allowMethods: ['GET', 'PUT'],
          allowHeaders: ['x-mine'],
          exposeHeaders: ['x-pod'],
          maxAge: 60,
        },
      },
    ],
    backendRefs: V1,
  },
  { matches: [prefix('/foreign')], backendRefs: [backend('far', 1, { namespace: 'c' })] },
  { backendRefs: V1 },
];
const GRANT = object(
  'ReferenceGrant',
  'from-m',
  {
    from: [{ group: 'gateway.networking.k8s.io', kind: 'HTTPRoute', namespace: 'm' }],
    to: [{ group: '', kind: 'Service', name: 'far' }],
  },
  { namespace: 'c' },
);

describe('mesh: routes', function () {
  this.timeout(120_000);
  let mesh: Mesh;
  let client: Driver;
  let consumer: Driver;
  before(async () => {
    const inC = (manifest: string): string => manifest.replaceAll('namespace: m', 'namespace: c');
    mesh = await Mesh.up({
      ...WAY_BASE,
      'c.yaml': (WAY_BASE['namespace.yaml'] ?? '').replace('name: m', 'name: c'),
      'consumer.yaml': inC(podManifest('consumer')),
      'v1.yaml': wayServer('v1', { run: 'web' }),
      'v2.yaml': wayServer('v2', { run: 'web' }),
      'far.yaml': inC(wayServer('far')),
      'services.yaml': [
        wayService('web', {
          waypoint: 'way',
          selector: { run: 'web' },
          ports: { 80: [8080, 'http'], 83: [9090, 'grpc'] },
        }),
        wayService('both', { selector: { run: 'web' }, ports: { 80: [8080, 'http'], 83: [9090, 'grpc'] } }),
        wayService('v1', { selector: { app: 'v1' }, ports: { 80: [8080, 'http'], 83: [9090, 'grpc'] } }),
        wayService('v2', { selector: { app: 'v2' }, ports: { 80: [8080, 'http'], 83: [9090, 'grpc'] } }),
        wayService('far', { namespace: 'c', selector: { app: 'far' }, ports: { 80: [8080, 'http'] } }),
      ].join('---\n'),
      'route.yaml': httpRoute('features', 'web', RULES, { port: 80 }),
      'host.yaml': object('HTTPRoute', 'host', {
        parentRefs: [{ group: '', kind: 'Service', name: 'web', port: 80 }],
        hostnames: ['*.special.example'],
        rules: [{ backendRefs: V2 }],
      }),
      'consumer-route.yaml': object(
        'HTTPRoute',
        'mine',
        {
          parentRefs: [{ group: '', kind: 'Service', name: 'web', namespace: 'm', port: 80 }],
          rules: [{ backendRefs: [{ name: 'far', port: 80 }] }],
        },
        { namespace: 'c' },
      ),
      'grpc.yaml': object('GRPCRoute', 'calls', {
        parentRefs: [{ group: '', kind: 'Service', name: 'web', port: 83 }],
        rules: [
          {
            matches: [{ method: { service: 'test.Echo', method: 'Unary' } }],
            backendRefs: [{ name: 'v2', port: 83 }],
          },
          {
            matches: [{ method: { service: 'test.Echo' }, headers: [{ name: 'x-to', value: 'v2' }] }],
            backendRefs: [{ name: 'v2', port: 83 }],
          },
          {
            matches: [{ method: { service: 'test.Echo', method: 'Server' } }],
            backendRefs: [{ name: 'v1', port: 83 }],
          },
        ],
      }),
    });
    client = await Driver.in(mesh, 'client');
    consumer = await Driver.in(mesh, 'consumer');
  });
  after(async () => {
    client?.stop();
    consumer?.stop();
    await mesh?.down();
  });

  const web = { host: 'web', port: 80 } as const;
  const get = (options: Partial<RequestOptions> & { path?: string }) =>
    client.request({ ...web, ...options });

  for (const [what, options, pod] of [
    ['nothing that is asked for: the last rule', {}, 'v1'],
    ['a header', { headers: { 'x-to': 'v2' } }, 'v2'],
    ['another value of the header', { headers: { 'x-to': 'v22' } }, 'v1'],
    ['a header by expression, and the method', { headers: { 'x-to': 'v22' }, method: 'PUT' }, 'v2'],
    ['an exact path', { path: '/exact' }, 'v2'],
    ['more than the exact path', { path: '/exact/more' }, 'v1'],
    ['a path by prefix', { path: '/pre/more' }, 'v2'],
    ['a path that only begins alike', { path: '/prefix' }, 'v1'],
    ['a path by expression', { path: '/re/42' }, 'v2'],
    ['a path by expression, not the whole', { path: '/re/42x' }, 'v1'],
    ['a query parameter', { path: '/?a=b&to=v2' }, 'v2'],
    ['a method', { method: 'DELETE' }, 'v2'],
    ['a host', { headers: { host: 'very.special.example' } }, 'v2'],
    ['another host', { headers: { host: 'special.example' } }, 'v1'],
  ] as const) {
    it(`matches ${what}`, async () => {
      const answer = await get(options);
      assert.equal(answer.status, 200);
      assert.equal(answer.headers['x-pod'], pod);
    });
  }

  it('redirects', async () => {
    const answer = await get({ path: '/redirect/a?b=c' });
    assert.equal(answer.status, 308);
    assert.equal(answer.headers['location'], 'https://new.example:8443/moved/a?b=c');
  });

  it('rewrites host and path', async () => {
    const told = await client.told({ ...web, path: '/rewrite/a?b=c' });
    assert.equal(told.url, '/rewritten/a?b=c');
    assert.equal(told.headers['host'], 'inside.example');
  });

  it('changes headers of request, response and backend', async () => {
    const answer = await get({
      path: '/headers',
      headers: { 'x-set': 'mine', 'x-added': 'mine', 'x-removed': 'mine' },
    });
    const { headers } = JSON.parse(answer.text) as { headers: Record<string, string> };
    assert.deepEqual(
      ['x-set', 'x-added', 'x-removed', 'x-backend'].map((name) => headers[name]?.replace(/, ?/g, ',')),
      ['set', 'mine,added', undefined, 'v1'],
    );
    assert.equal(answer.headers['x-response'], 'set');
    assert.equal(answer.headers['content-type'], undefined);
  });

  it('mirrors, and answers with the backend of the rule', async () => {
    const answer = await get({ path: '/mirror-me', method: 'POST', body: 'twice' });
    assert.deepEqual([answer.text, answer.headers['x-pod']], ['twice', 'v1']);
    await eventually('the copy', async () => {
      const { text } = await get({ path: '/count?path=/mirror-me', headers: { 'x-to': 'v2' } });
      return (JSON.parse(text) as { count: number }).count === 1;
    });
  });

  it('ends a request that takes too long', async () => {
    const answer = await get({ path: '/timeout/hold?id=t1' });
    assert.equal(answer.status, 504);
    assert.equal((await wayLine(mesh, '/timeout/hold')).response_flags, 'DT');
  });

  it('tries again elsewhere after a try that takes too long', async () => {
    for (let n = 0; n < 4; n += 1) {
      const answer = await get({ path: `/try/hold?id=t${n}&pod=v1` });
      assert.deepEqual([answer.status, answer.text], [200, 'v2']);
    }
    const answer = await get({ path: '/try/hold/u?id=u' });
    assert.equal(answer.status, 504);
    assert.match((await wayLine(mesh, '/try/hold/u')).response_flags ?? '', /UT/);
  });

  it('tries again elsewhere after a status', async () => {
    for (let n = 0; n < 4; n += 1) {
      const answer = await get({ path: '/retry/bad-on?pod=v1&code=503' });
      assert.deepEqual([answer.status, answer.text], [200, 'v2']);
    }
    const answer = await get({ path: '/retry/bad-on?pod=v1&code=500' });
    assert.ok(answer.status === 200 || answer.status === 500, 'no retry for another status');
  });

  it('answers for CORS', async () => {
    const origin = { origin: 'https://shop.example' };
    const preflight = await get({
      ...{ path: '/cors', method: 'OPTIONS' },
      headers: {
        ...origin,
        'access-control-request-method': 'PUT',
        'access-control-request-headers': 'x-mine',
      },
    });
    assert.ok(preflight.status === 200 || preflight.status === 204);
    assert.equal(preflight.headers['x-pod'], undefined, 'the backend is not asked');
    assert.equal(preflight.headers['access-control-allow-origin'], 'https://shop.example');
    assert.match(preflight.headers['access-control-allow-methods'] ?? '', /PUT/);
    assert.match(preflight.headers['access-control-allow-headers'] ?? '', /x-mine/i);
    assert.equal(preflight.headers['access-control-max-age'], '60');
    const real = await get({ path: '/cors', headers: origin });
    assert.equal(real.headers['access-control-allow-origin'], 'https://shop.example');
    assert.equal(real.headers['access-control-expose-headers'], 'x-pod');
    const other = await get({ path: '/cors', headers: { origin: 'https://evil.example' } });
    assert.equal(other.headers['access-control-allow-origin'], undefined);
  });

  it('sends to another namespace only with a grant', async () => {
    const refused = await get({ path: '/foreign' });
    assert.equal(refused.status, 500);
    assert.equal((await wayLine(mesh, '/foreign')).response_flags, 'NR');
    mesh.write('grant.yaml', GRANT);
    await eventually('the grant', async () => (await get({ path: '/foreign' })).headers['x-pod'] === 'far');
    mesh.remove('grant.yaml');
    await eventually('its end', async () => (await get({ path: '/foreign' })).status === 500);
  });

  it("uses a consumer's route for clients of its namespace alone", async () => {
    const answer = await consumer.request({ host: 'web.m', port: 80, path: '/exact' });
    assert.deepEqual([answer.status, answer.headers['x-pod']], [200, 'far']);
    assert.equal((await get({ path: '/exact' })).headers['x-pod'], 'v2');
  });

  it('matches gRPC by method and header, and answers UNIMPLEMENTED to what no rule matches', async () => {
    const call = { host: 'web', port: 83, messages: ['a'] };
    const unary = await client.grpc({ ...call, kind: 'unary' });
    assert.equal(unary.header['x-pod'], 'v2', unary.details);
    const server = await client.grpc({ ...call, kind: 'server' });
    assert.equal(server.trailer['x-sum'], 'v1', server.details);
    const both = await client.grpc({ ...call, kind: 'both', metadata: { 'x-to': 'v2' } });
    assert.equal(both.trailer['x-sum'], 'v2', both.details);
    assert.equal((await client.grpc({ ...call, kind: 'client' })).code, 12);
  });
});
