import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { readManifest } from '../../../../controller/sources/read-object.ts';
import type { Problem } from '../../../../controller/sources/source.ts';

/** What is wrong with a policy for Service shop/payments (or other targets) that has these lines below `spec`. */
function problemsOf(spec: string, targets = '[{kind: Service, name: payments}]'): readonly Problem[] {
  const text = `apiVersion: loam.dev/v1
kind: TrafficPolicy
metadata: {name: p, namespace: shop}
spec:
  targetRefs: ${targets}
${spec.replace(/^/gm, '  ')}
`;
  const [document] = readManifest('p.yaml', text);
  assert(document !== undefined && document.type !== 'ignored');
  return document.type === 'bad' ? document.problems : [];
}

const ROUTE = '[{group: gateway.networking.k8s.io, kind: HTTPRoute, name: checkout}]';

/** Each line: what is written, the field that is named, and the words that the message and what is allowed must have. */
const WRONG: readonly (readonly [spec: string, field: string, message: RegExp, allowed?: RegExp])[] = [
  ['retries: {attempts: 11}', 'spec.retries.attempts', /must be <= 10/],
  ['retries: {attempts: -1}', 'spec.retries.attempts', /must be >= 0/],
  ['retries: {attempts: 1.5}', 'spec.retries.attempts', /wrong type/, /integer/],
  ['retries: {attempts: "3"}', 'spec.retries.attempts', /wrong type/, /integer/],
  ['retries: {attempt: 3}', 'spec.retries.attempt', /did you mean "attempts"/],
  ['retries: {on: [reset]}', 'spec.retries.on', /unknown field "on"/, /conditions/],
  [
    'retries: {conditions: [conect-failure]}',
    'spec.retries.conditions[0]',
    /did you mean "connect-failure"/,
    /reset/,
  ],
  ['retries: {conditions: [reset, reset]}', 'spec.retries.conditions', /duplicate/],
  ['retries: {conditions: []}', 'spec.retries.conditions', /must not be empty/],
  ['retries: {statuses: [399]}', 'spec.retries.statuses[0]', /must be >= 400/],
  ['retries: {statuses: [600]}', 'spec.retries.statuses[0]', /must be <= 599/],
  ['retries: {perTryTimeout: 5}', 'spec.retries.perTryTimeout', /wrong type/],
  ['retries: {perTryTimeout: 5 s}', 'spec.retries.perTryTimeout', /not allowed/, /h, m, s or ms/],
  [
    'retries: {perTryTimeout: 25h}',
    'spec.retries.perTryTimeout',
    /"25h" is not allowed/,
    /1ms to 24h, or 0s for none/,
  ],
  ['retries: {backoff: {base: 0s}}', 'spec.retries.backoff.base', /not allowed/, /^1ms to 1m$/],
  ['retries: {backoff: {base: 2m}}', 'spec.retries.backoff.base', /not allowed/, /1m/],
  [
    'retries: {backoff: {base: 1s, max: 999ms}}',
    'spec.retries.backoff.max',
    /999ms is less than base \(1s\)/,
    /1s or more/,
  ],
  ['retries: {backoff: {max: 20ms}}', 'spec.retries.backoff.max', /less than base \(25ms\)/],
  ['retries: {budget: {percent: 101}}', 'spec.retries.budget.percent', /must be <= 100/],
  ['retries: {budget: {window: 999ms}}', 'spec.retries.budget.window', /not allowed/, /1s to 1h/],
  ['retries: {budget: {minPerSecond: 10001}}', 'spec.retries.budget.minPerSecond', /must be <= 10000/],
  ['retries: {retryNonIdempotent: "yes"}', 'spec.retries.retryNonIdempotent', /wrong type/],
  ['retries: {sameEndpoint: 1}', 'spec.retries.sameEndpoint', /wrong type/],
  ['retries: {maxBufferedBytes: 1048577}', 'spec.retries.maxBufferedBytes', /must be <= 1048576/],
  ['retries:', 'spec.retries', /wrong type/, /object/],
  ['timeouts: {request: -1s}', 'spec.timeouts.request', /not allowed/],
  ['timeouts: {idle: 48h}', 'spec.timeouts.idle', /not allowed/, /24h/],
  ['timeouts: {connect: 0s}', 'spec.timeouts.connect', /not allowed/, /^1ms to 5m$/],
  ['fallback: {service: payments, port: 80}', 'spec.fallback.service', /cannot be its own fallback/],
  ['fallback: {service: payments, namespace: shop, port: 80}', 'spec.fallback.service', /cannot be its own/],
  ['fallback: {service: other}', 'spec.fallback', /missing field "port"/],
  ['fallback: {port: 80}', 'spec.fallback', /missing field "service"/],
  ['fallback: {service: o.shop, port: 80}', 'spec.fallback.service', /not allowed/],
  ['fallback: {service: o, port: 0}', 'spec.fallback.port', /must be >= 1/],
  ['fallback: {service: o, namespace: A, port: 1}', 'spec.fallback.namespace', /not allowed/],
  [
    'fallback: {service: o, port: 80, conditions: []}',
    'spec.fallback',
    /never act/,
    /conditions, statuses and onTimeout/,
  ],
  ['fallback: {service: o, port: 80, statuses: [200]}', 'spec.fallback.statuses[0]', /must be >= 400/],
  ['fallback: {service: o, port: 80, onTimeout: maybe}', 'spec.fallback.onTimeout', /wrong type/],
  ['circuitBreaker: {maxConnections: -1}', 'spec.circuitBreaker.maxConnections', /must be >= 0/],
  [
    'circuitBreaker: {maxPendingRequests: 1000001}',
    'spec.circuitBreaker.maxPendingRequests',
    /must be <= 1000000/,
  ],
  ['circuitBreaker: {maxRequests: x}', 'spec.circuitBreaker.maxRequests', /wrong type/],
  [
    'circuitBreaker: {maxRequestsPerConnection: -1}',
    'spec.circuitBreaker.maxRequestsPerConnection',
    /must be >= 0/,
  ],
  ['outlierDetection: {consecutiveErrors: 0}', 'spec.outlierDetection', /both counts are 0/],
  [
    'outlierDetection: {consecutiveErrors: 1001}',
    'spec.outlierDetection.consecutiveErrors',
    /must be <= 1000/,
  ],
  [
    'outlierDetection: {consecutiveGatewayErrors: -1}',
    'spec.outlierDetection.consecutiveGatewayErrors',
    /must be >= 0/,
  ],
  ['outlierDetection: {interval: 50ms}', 'spec.outlierDetection.interval', /not allowed/, /100ms/],
  ['outlierDetection: {baseEjection: 2h}', 'spec.outlierDetection.baseEjection', /not allowed/, /1h/],
  [
    'outlierDetection: {baseEjection: 2m, maxEjection: 1m}',
    'spec.outlierDetection.maxEjection',
    /less than baseEjection \(2m\)/,
  ],
  [
    'outlierDetection: {maxEjection: 29s}',
    'spec.outlierDetection.maxEjection',
    /less than baseEjection \(30s\)/,
  ],
  ['outlierDetection: {maxEjectedPercent: 101}', 'spec.outlierDetection.maxEjectedPercent', /must be <= 100/],
  ['outlierDetection: {minHealthPercent: -1}', 'spec.outlierDetection.minHealthPercent', /must be >= 0/],
  [
    'loadBalancing: {algorithm: least-requests}',
    'spec.loadBalancing.algorithm',
    /did you mean "least-request"/,
  ],
  ['loadBalancing: {algorithm: consistent-hash}', 'spec.loadBalancing', /missing field "hash"/, /sourceIp/],
  [
    'loadBalancing: {hash: {header: x}}',
    'spec.loadBalancing.hash',
    /no meaning with algorithm least-request/,
  ],
  ['loadBalancing: {algorithm: consistent-hash, hash: {}}', 'spec.loadBalancing.hash', /exactly one/],
  [
    'loadBalancing: {algorithm: consistent-hash, hash: {header: x, cookie: y}}',
    'spec.loadBalancing.hash',
    /exactly one/,
  ],
  [
    'loadBalancing: {algorithm: consistent-hash, hash: {header: "x y"}}',
    'spec.loadBalancing.hash.header',
    /not allowed/,
  ],
  [
    'loadBalancing: {algorithm: consistent-hash, hash: {cookie: "a=b"}}',
    'spec.loadBalancing.hash.cookie',
    /not allowed/,
  ],
  [
    'loadBalancing: {algorithm: consistent-hash, hash: {query: ""}}',
    'spec.loadBalancing.hash.query',
    /fewer than 1/,
  ],
  [
    'loadBalancing: {algorithm: consistent-hash, hash: {sourceIp: false}}',
    'spec.loadBalancing.hash.sourceIp',
    /not allowed/,
    /true/,
  ],
  [
    'loadBalancing: {algorithm: consistent-hash, hash: {query: u}, slowStart: 5s}',
    'spec.loadBalancing.slowStart',
    /no meaning/,
  ],
  [
    'loadBalancing: {slowStart: 500ms}',
    'spec.loadBalancing.slowStart',
    /not allowed/,
    /1s to 1h, or 0s for none/,
  ],
  ['loadBalancing: {ignoreLocality: 0}', 'spec.loadBalancing.ignoreLocality', /wrong type/],
  ['sessionPersistence: {}', 'spec.sessionPersistence', /missing field "name"/],
  ['sessionPersistence: {name: "a;b"}', 'spec.sessionPersistence.name', /not allowed/],
  [
    'sessionPersistence: {name: Authorization, type: header}',
    'spec.sessionPersistence.name',
    /meaning of its own/,
  ],
  [
    'sessionPersistence: {name: x-forwarded-for, type: header}',
    'spec.sessionPersistence.name',
    /meaning of its own/,
  ],
  ['sessionPersistence: {name: __Host-s}', 'spec.sessionPersistence.name', /not Secure/, /__Secure-/],
  ['sessionPersistence: {name: s, type: Cookie}', 'spec.sessionPersistence.type', /did you mean "cookie"/],
  [
    'sessionPersistence: {name: s, absoluteTimeout: 577h}',
    'spec.sessionPersistence.absoluteTimeout',
    /not allowed/,
  ],
  [
    'sessionPersistence: {name: s, absoluteTimeout: 1m, idleTimeout: 2m}',
    'spec.sessionPersistence.idleTimeout',
    /2m is more than absoluteTimeout/,
  ],
  ['sessionPersistence: {name: s, permanent: true}', 'spec.sessionPersistence.permanent', /absoluteTimeout/],
  [
    'sessionPersistence: {name: s, type: header, absoluteTimeout: 1m, permanent: true}',
    'spec.sessionPersistence.permanent',
    /only a cookie/,
  ],
  ['rateLimit: {}', 'spec.rateLimit', /missing field "rules"/],
  ['rateLimit: {rules: [{requests: 0, per: 1s}]}', 'spec.rateLimit.rules[0].requests', /must be >= 1/],
  ['rateLimit: {rules: [{per: 1s}]}', 'spec.rateLimit.rules[0]', /missing field "requests"/],
  ['rateLimit: {rules: [{requests: 1}]}', 'spec.rateLimit.rules[0]', /missing field "per"/],
  [
    'rateLimit: {rules: [{requests: 1, per: 1s}, {requests: 1, per: 1ms}]}',
    'spec.rateLimit.rules[1].per',
    /not allowed/,
    /100ms to 24h/,
  ],
  ['rateLimit: {rules: [{requests: 1, per: 1s, burst: 0}]}', 'spec.rateLimit.rules[0].burst', /must be >= 1/],
  [
    'rateLimit: {rules: [{requests: 1, per: 1s, key: ip}]}',
    'spec.rateLimit.rules[0].key',
    /not allowed/,
    /source-ip/,
  ],
  [
    'rateLimit: {rules: [{requests: 1, per: 1s, key: header}]}',
    'spec.rateLimit.rules[0]',
    /missing field "header"/,
  ],
  [
    'rateLimit: {rules: [{requests: 1, per: 1s, header: x}]}',
    'spec.rateLimit.rules[0].header',
    /no meaning with key all/,
  ],
  [
    'rateLimit: {rules: [{requests: 1, per: 1s, key: header, header: ":path"}]}',
    'spec.rateLimit.rules[0].header',
    /not allowed/,
  ],
  [
    'rateLimit: {rules: [{requests: 1, per: 1s, status: 200}]}',
    'spec.rateLimit.rules[0].status',
    /must be >= 400/,
  ],
  [
    'faultInjection: {delay: {percent: 100.5, duration: 1s}}',
    'spec.faultInjection.delay.percent',
    /must be <= 100/,
  ],
  ['faultInjection: {delay: {percent: 5}}', 'spec.faultInjection.delay', /missing field "duration"/],
  ['faultInjection: {delay: {duration: 2h}}', 'spec.faultInjection.delay.duration', /not allowed/, /1h/],
  [
    'faultInjection: {abort: {percent: 5}}',
    'spec.faultInjection.abort',
    /missing what to answer/,
    /grpcStatus/,
  ],
  ['faultInjection: {abort: {status: 199}}', 'spec.faultInjection.abort.status', /must be >= 200/],
  [
    'faultInjection: {abort: {percent: -0.1, status: 503}}',
    'spec.faultInjection.abort.percent',
    /must be >= 0/,
  ],
  [
    'faultInjection: {abort: {grpcStatus: unavailible}}',
    'spec.faultInjection.abort.grpcStatus',
    /did you mean "unavailable"/,
  ],
  ['faultInjection: {headers: [{name: x, exact: a}]}', 'spec.faultInjection', /without a fault/],
  [
    'faultInjection: {abort: {status: 503}, headers: [{name: x}]}',
    'spec.faultInjection.headers[0]',
    /exactly one/,
  ],
  [
    'faultInjection: {abort: {status: 503}, headers: [{name: x, exact: a, regex: b}]}',
    'spec.faultInjection.headers[0]',
    /exactly one/,
  ],
  [
    'faultInjection: {abort: {status: 503}, headers: [{name: "x:", exact: a}]}',
    'spec.faultInjection.headers[0].name',
    /not allowed/,
  ],
  [
    'faultInjection: {abort: {status: 503}, headers: [{name: x, regex: "(a"}]}',
    'spec.faultInjection.headers[0].regex',
    /regular expression/,
  ],
  // RE2 has no back-references: with them a pattern could take exponential time.
  [
    'faultInjection: {abort: {status: 503}, headers: [{name: x, regex: "(a)\\\\1"}]}',
    'spec.faultInjection.headers[0].regex',
    /regular expression/,
  ],
  ['retry: {attempts: 3}', 'spec.retry', /unknown field "retry"/, /retries/],
];

describe('TrafficPolicy: what is refused', () => {
  for (const [spec, field, message, allowed] of WRONG) {
    it(`refuses ${spec}`, () => {
      const problems = problemsOf(spec);
      const found = problems.find((problem) => problem.field === field);
      assert(found !== undefined, JSON.stringify(problems));
      assert.match(found.message, message);
      if (allowed !== undefined) assert.match(found.allowed ?? '', allowed);
      assert.deepEqual(found.object, { kind: 'TrafficPolicy', namespace: 'shop', name: 'p' });
    });
  }

  it('refuses a policy that says nothing', () => {
    const [found] = problemsOf('');
    assert.match(found?.message ?? '', /says nothing/);
    assert.match(found?.allowed ?? '', /retries, timeouts/);
  });

  for (const part of [
    'circuitBreaker: {maxRequests: 1}',
    'outlierDetection: {}',
    'loadBalancing: {algorithm: random}',
  ]) {
    const name = part.slice(0, part.indexOf(':'));
    it(`refuses ${name} for a route by name`, () => {
      const [found, ...more] = problemsOf(part, ROUTE);
      assert.equal(found?.field, `spec.${name}`);
      assert.match(found?.message ?? '', new RegExp(`^${name} .*HTTPRoute checkout`));
      assert.deepEqual(more, []);
    });
  }

  it('refuses targets that are wrong', () => {
    const cases: readonly (readonly [string, RegExp])[] = [
      ['[]', /must not be empty/],
      ['[{kind: Pod, name: a}]', /"Pod" is not allowed/],
      ['[{kind: HTTPRoute, name: a}]', /HTTPRoute is not in the group ""/],
      ['[{group: apps, kind: Service, name: a}]', /Service is not in the group "apps"/],
      ['[{kind: Service}]', /missing field "name"/],
      ['[{kind: Service, name: a, namespace: other}]', /unknown field "namespace"/],
      ['[{kind: Service, name: a}, {group: core, kind: Service, name: a}]', /"Service a" occurs twice/],
    ];
    for (const [targets, message] of cases) {
      const problems = problemsOf('timeouts: {}', targets);
      assert(
        problems.some((problem) => message.test(problem.message)),
        `${targets}: ${JSON.stringify(problems)}`,
      );
    }
  });

  it('refuses another version, and another kind of its group rather than pass it over', () => {
    const read = (apiVersion: string, kind: string): string | undefined => {
      const [document] = readManifest(
        'p.yaml',
        `{apiVersion: ${apiVersion}, kind: ${kind}, metadata: {name: p}}`,
      );
      return document?.type === 'bad' ? document.problems[0]?.message : undefined;
    };
    assert.equal(read('loam.dev/v2', 'TrafficPolicy'), '"loam.dev/v2" is not allowed');
    assert.match(read('loam.dev/v1', 'TraficPolicy') ?? '', /did you mean "TrafficPolicy"/);
    assert.match(read('loam.dev/v1', 'Whatever') ?? '', /unknown kind/);
  });

  it('refuses more than 16 targets', () => {
    const targets = Array.from({ length: 17 }, (_, i) => `{kind: Service, name: s${i}}`).join(', ');
    assert.match(problemsOf('timeouts: {}', `[${targets}]`)[0]?.message ?? '', /16/);
  });
});

describe('TrafficPolicy: what is taken', () => {
  const RIGHT = [
    'retries: {}',
    'retries: {attempts: 0}',
    'retries: {perTryTimeout: 0s, backoff: {base: 1m, max: 1m}}',
    'timeouts: {request: 0s, idle: 1h30m, connect: 1ms}',
    'fallback: {service: o, port: 80, conditions: [], onTimeout: true}',
    'fallback: {service: payments, namespace: other, port: 80}',
    'circuitBreaker: {}',
    'outlierDetection: {consecutiveErrors: 0, consecutiveGatewayErrors: 1}',
    'outlierDetection: {baseEjection: 1h}',
    'loadBalancing: {algorithm: consistent-hash, hash: {sourceIp: true}, slowStart: 0s}',
    'sessionPersistence: {name: s, absoluteTimeout: 0s, idleTimeout: 1h}',
    'sessionPersistence: {name: date, type: cookie}',
    'sessionPersistence: {name: __Host-s, type: header}',
    'rateLimit: {rules: []}',
    'faultInjection: {}',
    'faultInjection: {abort: {percent: 0.01, grpcStatus: internal}, headers: [{name: X-A, exact: ""}]}',
  ];
  for (const spec of RIGHT) it(`takes ${spec}`, () => assert.deepEqual(problemsOf(spec), []));

  it('takes request-level parts for a route', () => {
    const spec = 'retries: {}\ntimeouts: {}\nrateLimit: {rules: []}\nfaultInjection: {}';
    assert.deepEqual(
      problemsOf(`${spec}\nsessionPersistence: {name: s}\nfallback: {service: o, port: 1}`, ROUTE),
      [],
    );
  });
});
