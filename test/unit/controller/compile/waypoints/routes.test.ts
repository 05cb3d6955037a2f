import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import type { CompiledMesh } from '../../../../../controller/compile/mesh.ts';
import {
  compileObjects,
  conditionsOf,
  jsonOf,
  namesOf,
  objectsOf,
  outcomeOf,
  resourceOf,
  routeYaml,
  serviceYaml,
  SHOP,
} from './world.ts';

const PARENT = 'parentRefs: [{group: "", kind: Service, name: payments, port: 80}]';

function compile(...yaml: string[]): CompiledMesh {
  return compileObjects(objectsOf([SHOP, ...yaml].join('---')));
}

function ruleOf(rule: string, kind = 'HTTPRoute'): unknown {
  const mesh = compile(routeYaml(`{${PARENT}, rules: [${rule}]}`, { kind }));
  const { route } = jsonOf(mesh, `route/${kind}/shop/r`) as { route: { rules?: unknown[] } };
  return route.rules?.[0];
}

const PAYMENTS = 'shop/payments.shop.svc.cluster.local';
const V2 = 'shop/payments-v2.shop.svc.cluster.local';

describe('what a waypoint is told of a route', () => {
  it('names the route, its hosts and parents, and the Services that it sends to', () => {
    const spec = `{${PARENT}, hostnames: [a.example.com, "*.example.com"],
      rules: [{name: one, backendRefs: [{name: payments, port: 80, weight: 9}, {name: payments-v2, port: 80}]}]}`;
    const mesh = compile(routeYaml(spec, { meta: ', creationTimestamp: "1970-01-01T00:00:01Z"' }));
    assert.deepEqual(jsonOf(mesh, 'route/HTTPRoute/shop/r'), {
      route: {
        kind: 'HTTPRoute',
        namespace: 'shop',
        name: 'r',
        creationTime: '1000',
        hostnames: ['a.example.com', '*.example.com'],
        parents: [{ service: PAYMENTS, port: 80 }],
        rules: [
          {
            name: 'one',
            backends: [
              { service: PAYMENTS, port: 80, weight: 9 },
              { service: V2, port: 80, weight: 1 },
            ],
          },
        ],
      },
    });
    assert.deepEqual(conditionsOf(mesh, 'HTTPRoute/shop/r'), [
      'Service shop/payments port 80 Accepted True Accepted',
      'Service shop/payments port 80 ResolvedRefs True ResolvedRefs',
    ]);
    assert.deepEqual(outcomeOf(mesh, 'HTTPRoute/shop/r'), {
      ...outcomeOf(mesh, 'HTTPRoute/shop/r'),
      state: 'accepted',
      message: '',
      compiledTo: ['Waypoint shop/waypoint route/HTTPRoute/shop/r'],
    });
  });

  const matches: [string, string, unknown][] = [
    ['nothing: everything', '{}', {}],
    ['an exact path', '{path: {type: Exact, value: /a}}', { path: { exact: '/a' } }],
    ['a prefix', '{path: {type: PathPrefix, value: /a/}}', { path: { prefix: '/a/' } }],
    ['a path, a prefix by default', '{path: {value: /a}}', { path: { prefix: '/a' } }],
    ['a regular expression', '{path: {type: RegularExpression, value: "/a+"}}', { path: { regex: '/a+' } }],
    ['a method', '{method: POST}', { method: 'POST' }],
    [
      'headers, whose names do not tell case',
      '{headers: [{name: X-A, value: b}, {name: c, type: RegularExpression, value: "d|e"}]}',
      {
        headers: [
          { name: 'x-a', exact: 'b' },
          { name: 'c', regex: 'd|e' },
        ],
      },
    ],
    [
      'query parameters, whose names do',
      '{queryParams: [{name: Q, value: "1"}, {name: q, type: RegularExpression, value: .}]}',
      {
        query: [
          { name: 'Q', exact: '1' },
          { name: 'q', regex: '.' },
        ],
      },
    ],
  ];
  for (const [what, match, expected] of matches)
    it(`matches ${what}`, () => assert.deepEqual(ruleOf(`{matches: [${match}]}`), { matches: [expected] }));

  const grpc: [string, string, unknown][] = [
    ['service and method', '{service: a.B, method: C}', { exact: '/a.B/C' }],
    ['a service with a leading dot', '{service: .a.B}', { prefix: '/a.B' }],
    ['a method of any service', '{method: C}', { regex: '/[^/]+/\\QC\\E' }],
    ['regular expressions', '{type: RegularExpression, service: "a|b"}', { regex: '/(?:a|b)/[^/]+' }],
  ];
  for (const [what, method, path] of grpc)
    it(`turns ${what} of gRPC into a path`, () => {
      const rule = ruleOf(`{matches: [{method: ${method}}]}`, 'GRPCRoute') as {
        matches: { path: { regex?: string } }[];
      };
      const [found] = rule.matches;
      const { regex } = path as { regex?: string };
      // Whether a quoted name comes with or without \Q says nothing.
      if (regex?.includes('\\Q') === true)
        assert.equal(found?.path.regex?.replace(/\\[QE]/g, ''), '/[^/]+/C');
      else assert.deepEqual(found?.path, path);
    });

  const filters: [string, string, unknown][] = [
    [
      'request headers',
      '{type: RequestHeaderModifier, requestHeaderModifier: {set: [{name: A, value: b}], remove: [C]}}',
      { requestHeaders: { set: [{ name: 'a', value: 'b' }], remove: ['c'] } },
    ],
    [
      'response headers',
      '{type: ResponseHeaderModifier, responseHeaderModifier: {add: [{name: a, value: b c}]}}',
      { responseHeaders: { add: [{ name: 'a', value: 'b c' }] } },
    ],
    [
      'a redirect',
      '{type: RequestRedirect, requestRedirect: {scheme: https, path: {type: ReplacePrefixMatch, replacePrefixMatch: /n}}}',
      { redirect: { scheme: 'https', path: { replacePrefixMatch: '/n' }, status: 302 } },
    ],
    [
      'a rewrite',
      '{type: URLRewrite, urlRewrite: {hostname: x.y, path: {type: ReplaceFullPath, replaceFullPath: /n}}}',
      { rewrite: { hostname: 'x.y', path: { replaceFullPath: '/n' } } },
    ],
    [
      'a mirror of a percentage',
      '{type: RequestMirror, requestMirror: {backendRef: {name: payments-v2, port: 80}, percent: 5}}',
      { mirror: { backend: { service: V2, port: 80, weight: 1 }, numerator: 5, denominator: 100 } },
    ],
    [
      'a mirror of a fraction',
      '{type: RequestMirror, requestMirror: {backendRef: {name: payments-v2, port: 80}, fraction: {numerator: 1, denominator: 3}}}',
      { mirror: { backend: { service: V2, port: 80, weight: 1 }, numerator: 1, denominator: 3 } },
    ],
    [
      'CORS',
      '{type: CORS, cors: {allowOrigins: ["https://*.a.b"], allowMethods: ["*"], allowCredentials: true}}',
      {
        cors: { allowOrigins: ['https://*.a.b'], allowMethods: ['*'], allowCredentials: true, maxAge: 5 },
      },
    ],
  ];
  for (const [what, filter, expected] of filters)
    it(`has ${what}`, () => assert.deepEqual(ruleOf(`{filters: [${filter}]}`), { filters: [expected] }));

  it('has filters of one backend', () => {
    const filter = '{type: RequestHeaderModifier, requestHeaderModifier: {set: [{name: a, value: b}]}}';
    assert.deepEqual(ruleOf(`{backendRefs: [{name: payments, port: 80, filters: [${filter}]}]}`), {
      backends: [
        {
          service: PAYMENTS,
          port: 80,
          weight: 1,
          filters: [{ requestHeaders: { set: [{ name: 'a', value: 'b' }] } }],
        },
      ],
    });
  });

  it('has timeouts, retries and sessions, in milliseconds', () => {
    const rule = `{timeouts: {request: 1m30s, backendRequest: 500ms}, retry: {codes: [503, 500], attempts: 3, backoff: 1s},
      sessionPersistence: {sessionName: s, absoluteTimeout: 1h, cookieConfig: {lifetimeType: Permanent}}}`;
    assert.deepEqual(ruleOf(rule), {
      requestTimeout: 90_000,
      backendRequestTimeout: 500,
      retry: { codes: [500, 503], attempts: 3, backoff: 1000 },
      sessionPersistence: { name: 's', absoluteTimeout: 3_600_000, permanent: true },
    });
    assert.deepEqual(ruleOf('{timeouts: {request: 0s}, retry: {}}'), { retry: { attempts: 2, backoff: 25 } });
    const { sessionPersistence } = ruleOf('{sessionPersistence: {type: Header}}') as {
      sessionPersistence: { name: string; type: string };
    };
    assert.match(sessionPersistence.name, /^loam-session-[0-9a-f]{8}$/);
    assert.equal(sessionPersistence.type, 'HEADER');
  });
});

describe('where a route leads', () => {
  const grant = (to: string): string => `
apiVersion: gateway.networking.k8s.io/v1beta1
kind: ReferenceGrant
metadata: {name: g, namespace: other}
spec:
  from: [{group: gateway.networking.k8s.io, kind: HTTPRoute, namespace: shop}]
  to: [${to}]
`;
  const other = serviceYaml('far', { namespace: 'other' });
  const rest = [other, grant('{group: "", kind: Service, name: far}')];
  const cases: [string, string, string[], string | undefined][] = [
    ['an unknown Service', '{name: nope, port: 80}', [], 'BackendNotFound: there is no Service shop/nope'],
    [
      'an unknown port',
      '{name: payments, port: 81}',
      [],
      'BackendNotFound: Service shop/payments has no TCP port 81',
    ],
    [
      'another kind',
      '{name: payments, kind: Bucket, group: s3, port: 80}',
      [],
      'InvalidKind: Bucket payments',
    ],
    ['another namespace', '{name: far, namespace: other, port: 80}', [other], 'RefNotPermitted'],
    [
      'another namespace that says nothing of what it has',
      '{name: nope, namespace: other, port: 80}',
      [],
      'RefNotPermitted',
    ],
    ['another namespace that admits it', '{name: far, namespace: other, port: 80}', rest, undefined],
    [
      'another namespace that admits other Services',
      '{name: far, namespace: other, port: 80}',
      [other, grant('{group: "", kind: Service, name: near}')],
      'RefNotPermitted',
    ],
    [
      'an ExternalName',
      '{name: ext, port: 80}',
      [serviceYaml('ext', { spec: '{type: ExternalName, externalName: a.b, ports: [{port: 80}]}' })],
      'BackendNotFound: Service shop/ext is of type ExternalName',
    ],
  ];
  for (const [what, backend, more, expected] of cases) {
    it(`says whether it can send to ${what}`, () => {
      const spec = `{${PARENT}, rules: [{backendRefs: [{name: payments, port: 80}, ${backend}]}]}`;
      const mesh = compile(routeYaml(spec), ...more);
      const kind = resourceOf(mesh, 'route/HTTPRoute/shop/r');
      assert(kind.case === 'route');
      const [good, found] = kind.value.rules[0]?.backends ?? [];
      assert.equal(good?.invalid, '');
      assert.equal(found?.weight, 1, 'its share stays its share');
      const [, resolved] = conditionsOf(mesh, 'HTTPRoute/shop/r');
      if (expected === undefined) {
        assert.deepEqual([found.invalid, found.service], ['', 'other/far.other.svc.cluster.local']);
        assert(namesOf(mesh).includes('service/other/far.other.svc.cluster.local'));
        return;
      }
      assert(found.invalid.startsWith(expected), found.invalid);
      assert.equal(found.service, '');
      const reason = expected.replace(/:.*/, '');
      assert.equal(resolved, `Service shop/payments port 80 ResolvedRefs False ${reason}`);
      assert.match(outcomeOf(mesh, 'HTTPRoute/shop/r').message, /answered with 500/);
    });
  }

  it('takes up a Service or a grant that comes later, and notices one that goes', () => {
    const route = routeYaml(`{${PARENT}, rules: [{backendRefs: [{name: far, namespace: other, port: 80}]}]}`);
    const shop = objectsOf([SHOP, route].join('---'));
    const [service, granted] = objectsOf(rest.join('---'));
    assert(service !== undefined && granted !== undefined);
    const invalid = (mesh: CompiledMesh): string => {
      const kind = resourceOf(mesh, 'route/HTTPRoute/shop/r');
      assert(kind.case === 'route');
      return kind.value.rules[0]?.backends[0]?.invalid ?? '';
    };
    const steps = [[], [service], [service, granted], [granted], [service, granted]];
    assert.deepEqual(
      steps.map((more) => invalid(compileObjects([...shop, ...more])).replace(/:.*/, '')),
      ['RefNotPermitted', 'RefNotPermitted', '', 'BackendNotFound', ''],
    );
  });

  it('leaves out a mirror that leads nowhere, and says so', () => {
    const filter = '{type: RequestMirror, requestMirror: {backendRef: {name: nope, port: 80}}}';
    const mesh = compile(
      routeYaml(`{${PARENT}, rules: [{filters: [${filter}], backendRefs: [{name: payments, port: 80}]}]}`),
    );
    const kind = resourceOf(mesh, 'route/HTTPRoute/shop/r');
    assert(kind.case === 'route');
    assert.deepEqual(kind.value.rules[0]?.filters, []);
    assert.match(conditionsOf(mesh, 'HTTPRoute/shop/r')[1] ?? '', /ResolvedRefs False BackendNotFound/);
  });
});

describe('where a route is in force', () => {
  const parents: [string, string, string[], string, string][] = [
    ['an unknown Service', 'name: nope', [], 'Service shop/nope Accepted False NoMatchingParent', 'pending'],
    [
      'an unknown port',
      'name: payments, port: 9',
      [],
      'Service shop/payments port 9 Accepted False NoMatchingParent',
      'pending',
    ],
    [
      'a Service that opts out',
      'name: bare',
      [serviceYaml('bare', { labels: '{loam.dev/use-waypoint: none}' })],
      'Service shop/bare Accepted False Pending',
      'pending',
    ],
    [
      'a waypoint that does not exist',
      'name: bare',
      [serviceYaml('bare', { labels: '{loam.dev/use-waypoint: ghost}' })],
      'Service shop/bare Accepted False Pending',
      'pending',
    ],
    [
      'a waypoint of a namespace that keeps it for itself',
      'name: far, namespace: other',
      [
        serviceYaml('far', {
          namespace: 'other',
          labels: '{loam.dev/use-waypoint: waypoint, loam.dev/use-waypoint-namespace: shop}',
        }),
      ],
      'Service other/far Accepted False NotAllowedByListeners',
      'pending',
    ],
    [
      'an opaque port',
      'name: db',
      [serviceYaml('db', { spec: '{ports: [{name: tcp-db, port: 5432}]}' })],
      'Service shop/db Accepted False NotAllowedByListeners',
      'pending',
    ],
    ['one of its Services', 'name: payments', [], 'Service shop/payments Accepted True Accepted', 'accepted'],
  ];
  for (const [what, parent, more, condition, state] of parents) {
    it(`says of ${what}`, () => {
      const mesh = compile(routeYaml(`{parentRefs: [{group: "", kind: Service, ${parent}}]}`), ...more);
      assert.equal(conditionsOf(mesh, 'HTTPRoute/shop/r')[0], condition);
      assert.equal(outcomeOf(mesh, 'HTTPRoute/shop/r').state, state);
      assert.equal(namesOf(mesh).includes('route/HTTPRoute/shop/r'), state === 'accepted');
    });
  }

  it("holds for clients of its own namespace where that is not the Service's", () => {
    const spec = '{parentRefs: [{group: "", kind: Service, name: payments, namespace: shop}]}';
    const mesh = compile(routeYaml(spec, { namespace: 'client' }));
    const kind = resourceOf(mesh, 'route/HTTPRoute/client/r');
    assert(kind.case === 'route');
    assert.deepEqual(
      kind.value.parents.map(({ service, port, consumerNamespace }) => ({
        service,
        port,
        consumerNamespace,
      })),
      [{ service: PAYMENTS, port: 0, consumerNamespace: 'client' }],
    );
  });

  it('gives each waypoint the routes and parents that are its own', () => {
    const second = `
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: second, namespace: shop}
spec: {gatewayClassName: loam-waypoint, listeners: [{name: mesh, port: 15008, protocol: HBONE}]}
`;
    const auth = serviceYaml('auth', { labels: '{loam.dev/use-waypoint: second}' });
    const refs = ['payments', 'auth'].map((name) => `{group: "", kind: Service, name: ${name}}`).join(', ');
    const mesh = compile(
      second,
      auth,
      routeYaml(`{parentRefs: [${refs}]}`, { name: 'both' }),
      routeYaml('{parentRefs: [{group: "", kind: Service, name: auth}]}', { name: 'one' }),
    );
    const services = (gateway: string, name: string): string[] => {
      const kind = resourceOf(mesh, name, gateway);
      assert(kind.case === 'route');
      return kind.value.parents.map(({ service }) => service);
    };
    assert.deepEqual(services('shop/waypoint', 'route/HTTPRoute/shop/both'), [PAYMENTS]);
    assert.deepEqual(services('shop/second', 'route/HTTPRoute/shop/both'), [
      'shop/auth.shop.svc.cluster.local',
    ]);
    const crossing = compile(
      second,
      auth,
      routeYaml(`{${PARENT}, rules: [{backendRefs: [{name: auth, port: 80}]}]}`),
    );
    assert.match(
      outcomeOf(crossing, 'HTTPRoute/shop/r').message,
      /auth is out of reach of Gateway shop\/waypoint/,
    );
    assert.deepEqual(namesOf(mesh, 'shop/second'), [
      'route/HTTPRoute/shop/both',
      'route/HTTPRoute/shop/one',
      'service/shop/auth.shop.svc.cluster.local',
      'settings',
    ]);
  });

  it('gives equal bytes for equal input, whether or not it was compiled before', () => {
    const yaml = [SHOP, routeYaml(`{${PARENT}, rules: [{backendRefs: [{name: payments, port: 80}]}]}`)].join(
      '---',
    );
    const bytes = (mesh: CompiledMesh): string[] =>
      [...(mesh.waypoints.get('shop/waypoint')?.values() ?? [])].map((each) =>
        Buffer.from(each.bytes).toString('hex'),
      );
    const once = objectsOf(yaml);
    const first = bytes(compileObjects(once));
    assert.deepEqual(bytes(compileObjects(once)), first);
    assert.deepEqual(bytes(compileObjects(objectsOf(yaml))), first);
  });
});
