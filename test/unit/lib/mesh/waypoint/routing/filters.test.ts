import assert from 'node:assert/strict';
import { create, type MessageInitShape } from '@bufbuild/protobuf';
import { describe, it } from 'mocha';
import {
  HeaderModifierSchema,
  type Filter,
  type RedirectSchema,
} from '../../../../../../proto/gen/loam/waypoint/v1/waypoint_pb.js';
import type { RequestHead } from '../../../../../../lib/mesh/waypoint/request.ts';
import { compileRoute } from '../../../../../../lib/mesh/waypoint/routing/compile-route.ts';
import {
  applyRequestFilters,
  applyResponseChanges,
  copyHead,
  type FilterOutcome,
} from '../../../../../../lib/mesh/waypoint/routing/filters/apply-filters.ts';
import { modifyHeaders } from '../../../../../../lib/mesh/waypoint/routing/filters/header-modifier.ts';
import { exact, filter, head, headers, prefix, route, type RuleInit } from './fixtures.ts';

type Path = NonNullable<MessageInitShape<typeof RedirectSchema>['path']>;
const full = (value: string): Path => ({ how: { case: 'replaceFullPath', value } });
const start = (value: string): Path => ({ how: { case: 'replacePrefixMatch', value } });

function apply(request: RequestHead, filters: Filter[], matched?: string): FilterOutcome {
  return applyRequestFilters(request, filters, { prefix: matched, scheme: 'http' });
}

/** The Location that a redirect gives. */
function location(
  redirect: MessageInitShape<typeof RedirectSchema>,
  request: RequestHead,
  matched?: string,
): unknown {
  const outcome = apply(
    request,
    [filter({ case: 'redirect', value: { status: 302, ...redirect } })],
    matched,
  );
  return outcome.kind === 'respond' ? outcome.response.headers['location'] : undefined;
}

describe('header modifiers', () => {
  const modify = (
    had: Record<string, string | string[]>,
    init: MessageInitShape<typeof HeaderModifierSchema>,
  ) => {
    const result = headers(had);
    modifyHeaders(result, create(HeaderModifierSchema, init));
    return { ...result };
  };
  const one = (name: string, value: string) => [{ name, value }];

  it('set, whether it was there or not', () => {
    assert.deepEqual(modify({ a: '1' }, { set: [...one('A', '2'), ...one('b', '3')] }), { a: '2', b: '3' });
  });
  it('add to what is there', () => {
    assert.deepEqual(modify({ a: '1' }, { add: [...one('A', '2'), ...one('b', '3')] }), {
      a: '1,2',
      b: '3',
    });
  });
  it('add a cookie of either direction in its own way', () => {
    assert.deepEqual(
      modify(
        { 'set-cookie': ['a=1'], cookie: 'a=1' },
        { add: [...one('Set-Cookie', 'b=2'), ...one('Cookie', 'b=2')] },
      ),
      {
        'set-cookie': ['a=1', 'b=2'],
        cookie: 'a=1; b=2',
      },
    );
    assert.deepEqual(modify({}, { set: one('set-cookie', 'b=2') }), { 'set-cookie': ['b=2'] });
  });
  it('remove by any case', () =>
    assert.deepEqual(modify({ a: '1', b: '2' }, { remove: ['A', 'c'] }), { b: '2' }));
  it('remove before they set and add', () => {
    assert.deepEqual(
      modify({ a: '1', b: '1' }, { remove: ['a', 'b'], set: one('a', '2'), add: one('b', '2') }),
      { a: '2', b: '2' },
    );
  });
  for (const name of [
    'Host',
    'connection',
    'Transfer-Encoding',
    'content-length',
    'TE',
    'trailer',
    'upgrade',
    'keep-alive',
    'proxy-connection',
    ':authority',
    ':path',
  ]) {
    it(`leave ${name} as it is`, () => {
      const had = { [name.toLowerCase()]: 'was' };
      assert.deepEqual(modify(had, { set: one(name, 'x'), add: one(name, 'y'), remove: [name] }), had);
    });
  }
  it('make no prototype of a header', () => {
    const result = headers({});
    modifyHeaders(result, create(HeaderModifierSchema, { set: one('__proto__', 'x') }));
    assert.deepEqual(Object.keys(result), ['__proto__']);
  });

  it('change the request at once and the response when it comes', () => {
    const request = head('/', { headers: { a: '1' } });
    const outcome = apply(request, [
      filter({ case: 'requestHeaders', value: { set: one('a', '2') } }),
      filter({ case: 'responseHeaders', value: { set: one('b', '2') } }),
      filter({ case: 'requestHeaders', value: { add: one('a', '3') } }),
    ]);
    assert.deepEqual({ ...request.headers }, { a: '2,3' });
    assert.ok(outcome.kind === 'continue');
    const response = headers({ b: '1' });
    applyResponseChanges(response, outcome.response);
    assert.deepEqual({ ...response }, { b: '2' });
  });

  it('of a backend change a copy, so that another backend can be tried', () => {
    const request = head('/a', { headers: { a: '1' } });
    const copy = copyHead(request);
    apply(copy, [
      filter({ case: 'requestHeaders', value: { set: one('a', '2') } }),
      filter({ case: 'rewrite', value: { path: full('/b'), hostname: 'other' } }),
    ]);
    assert.deepEqual([request.path, request.authority, request.headers['a']], ['/a', 'payments', '1']);
    assert.deepEqual([copy.path, copy.authority, copy.headers['a']], ['/b', 'other', '2']);
    assert.equal(Object.getPrototypeOf(copy.headers), null);
  });
});

describe('rewrites', () => {
  // Gateway API's own table, then what it leaves to be asked.
  const cases: [path: string, prefix: string, replacement: string, result: string][] = [
    ['/foo/bar', '/foo', '/xyz', '/xyz/bar'],
    ['/foo/bar', '/foo', '/xyz/', '/xyz/bar'],
    ['/foo', '/foo', '/xyz', '/xyz'],
    ['/foo/', '/foo', '/xyz', '/xyz/'],
    ['/foo/bar', '/foo', '', '/bar'],
    ['/foo/', '/foo', '', '/'],
    ['/foo', '/foo', '', '/'],
    ['/foo/', '/foo', '/', '/'],
    ['/foo', '/foo', '/', '/'],
    ['/foo/bar', '/foo', '/', '/bar'],
    ['/foo/foo', '/foo', '/xyz', '/xyz/foo'],
    ['/foo/bar', '/foo', 'xyz', '/xyz/bar'],
    ['/foo/bar/', '/foo/bar', '/x/y', '/x/y/'],
    ['/bar', '', '/xyz', '/xyz/bar'],
    ['/', '', '/xyz', '/xyz/'],
    ['*', '', '/xyz', '*'],
  ];
  for (const [path, matched, replacement, result] of cases) {
    it(`of ${matched || 'any prefix'} in ${path} by ${replacement || 'nothing'}: ${result}`, () => {
      const request = head(path, { query: 'q=1' });
      apply(request, [filter({ case: 'rewrite', value: { path: start(replacement) } })], matched);
      assert.deepEqual([request.path, request.query], [result, 'q=1']);
    });
  }

  it('of the whole path keep the query, unless they bring one', () => {
    const request = head('/foo', { query: 'q=1' });
    apply(request, [filter({ case: 'rewrite', value: { path: full('/x') } })]);
    assert.deepEqual([request.path, request.query], ['/x', 'q=1']);
    apply(request, [filter({ case: 'rewrite', value: { path: full('/y?z') } })]);
    assert.deepEqual([request.path, request.query], ['/y', 'z']);
  });

  it('of the host leave the path, and the other way round', () => {
    const request = head('/foo', { authority: 'payments:8080' });
    apply(request, [filter({ case: 'rewrite', value: { hostname: 'Other.example' } })]);
    assert.deepEqual([request.authority, request.path], ['other.example', '/foo']);
  });
});

describe('redirects', () => {
  const came = head('/foo/bar', { query: 'q=1', authority: 'a.example:8080' });
  const plain = head('/foo/bar', { authority: 'a.example' });
  const cases: [string, MessageInitShape<typeof RedirectSchema>, RequestHead, string][] = [
    ['nothing', {}, came, 'http://a.example:8080/foo/bar?q=1'],
    ['another scheme, with its port', { scheme: 'https' }, came, 'https://a.example/foo/bar?q=1'],
    ['the same scheme, with its port', { scheme: 'http' }, came, 'http://a.example/foo/bar?q=1'],
    ['a port', { port: 9090 }, plain, 'http://a.example:9090/foo/bar'],
    ['the port of the scheme', { port: 80 }, came, 'http://a.example/foo/bar?q=1'],
    ['scheme and port', { scheme: 'https', port: 8443 }, plain, 'https://a.example:8443/foo/bar'],
    ['scheme and its own port', { scheme: 'https', port: 443 }, plain, 'https://a.example/foo/bar'],
    ['scheme and the other port', { scheme: 'https', port: 80 }, plain, 'https://a.example:80/foo/bar'],
    ['a host', { hostname: 'b.example' }, came, 'http://b.example:8080/foo/bar?q=1'],
    [
      'a host and the scheme',
      { hostname: 'b.example', scheme: 'https' },
      came,
      'https://b.example/foo/bar?q=1',
    ],
    ['the whole path', { path: full('/x') }, came, 'http://a.example:8080/x?q=1'],
    ['the whole path and the query', { path: full('/x?y') }, came, 'http://a.example:8080/x?y'],
    ['the prefix', { path: start('/x') }, came, 'http://a.example:8080/x/bar?q=1'],
    ['the prefix, by nothing', { path: start('') }, plain, 'http://a.example/bar'],
    ['an IPv6 host kept', { port: 81 }, head('/', { authority: '[fd00::1]' }), 'http://[fd00::1]:81/'],
    ['an IPv6 host and port kept', {}, head('/', { authority: '[fd00::1]:81' }), 'http://[fd00::1]:81/'],
    ['no host', { path: full('/x') }, head('/', { authority: '' }), '/x'],
  ];
  for (const [what, redirect, request, expected] of cases) {
    it(`change ${what}: ${expected}`, () => assert.equal(location(redirect, request, '/foo'), expected));
  }

  it('answer with their status, go nowhere, and heed changes of the response', () => {
    const request = head('/', { headers: { a: '1' } });
    const outcome = apply(request, [
      filter({ case: 'requestHeaders', value: { remove: ['a'] } }),
      filter({ case: 'redirect', value: { status: 308, hostname: 'b' } }),
      filter({ case: 'responseHeaders', value: { set: [{ name: 'x', value: '1' }] } }),
    ]);
    assert.ok(outcome.kind === 'respond');
    assert.equal(outcome.response.status, 308);
    assert.deepEqual(
      { ...outcome.response.headers },
      { location: 'http://b/', 'content-length': '0', x: '1' },
    );
    assert.equal(request.headers['a'], '1');
  });
});

describe('mirrors', () => {
  const mirror = (numerator: number, denominator: number, invalid = ''): Filter =>
    filter({
      case: 'mirror',
      value: { backend: { service: 'shop/shadow', port: 80, invalid }, numerator, denominator },
    });
  const mirrored = (filters: Filter[], n = 1000): number[] => {
    const counts = filters.map(() => 0);
    for (let i = 0; i < n; i += 1) {
      const outcome = apply(head(), filters);
      assert.ok(outcome.kind === 'continue');
      for (const [j, { kind }] of filters.entries()) {
        if (kind.case === 'mirror' && outcome.mirrors.includes(kind.value.backend ?? assert.fail())) {
          counts[j] = (counts[j] ?? 0) + 1;
        }
      }
    }
    return counts;
  };

  it('take all requests', () => assert.deepEqual(mirrored([mirror(100, 100)], 100), [100]));
  it('take none', () => assert.deepEqual(mirrored([mirror(0, 100)], 100), [0]));
  it('take none to a backend that cannot be used', () =>
    assert.deepEqual(mirrored([mirror(1, 1, 'gone')], 100), [0]));
  it('take their fraction each', () => {
    const [first = 0, second = 0, third = 0] = mirrored([mirror(1, 10), mirror(1, 2), mirror(3, 4)]);
    assert.ok(Math.abs(first - 100) < 10, `${first}`);
    assert.ok(Math.abs(second - 500) < 10, `${second}`);
    assert.ok(Math.abs(third - 750) < 10, `${third}`);
  });
});

describe('filters that cannot be compiled', () => {
  const refused = (rule: RuleInit): string => {
    try {
      compileRoute(route('r', { rules: [rule] }));
    } catch (error) {
      return error instanceof Error ? error.message : '';
    }
    return 'compiled';
  };
  const cases: [string, RuleInit, RegExp][] = [
    [
      'a header name',
      { filters: [filter({ case: 'requestHeaders', value: { set: [{ name: 'a b', value: '' }] } })] },
      /filters\[0\]\.requestHeaders\.set\[0\]\.name: "a b"/,
    ],
    [
      'a header value that begins another header',
      { filters: [filter({ case: 'responseHeaders', value: { add: [{ name: 'a', value: '1\r\nb: 2' }] } })] },
      /responseHeaders\.add\[0\]\.value/,
    ],
    [
      'a name to remove',
      { filters: [filter({ case: 'requestHeaders', value: { remove: [''] } })] },
      /remove\[0\]: ""/,
    ],
    [
      'a scheme',
      { filters: [filter({ case: 'redirect', value: { status: 302, scheme: 'javascript' } })] },
      /redirect\.scheme: "javascript" is not allowed; allowed: http or https/,
    ],
    [
      'a status',
      { filters: [filter({ case: 'redirect', value: { status: 200 } })] },
      /redirect\.status: "200"/,
    ],
    [
      'a hostname',
      { filters: [filter({ case: 'rewrite', value: { hostname: 'a/b' } })] },
      /rewrite\.hostname: "a\/b"/,
    ],
    [
      'a path',
      { filters: [filter({ case: 'rewrite', value: { path: full('/a b') } })] },
      /rewrite\.path\.replaceFullPath/,
    ],
    [
      'the prefix of an exact match',
      {
        matches: [prefix('/a'), exact('/b')],
        filters: [filter({ case: 'rewrite', value: { path: start('/x') } })],
      },
      /replacePrefixMatch: "\/x" is not allowed; allowed: replaceFullPath, unless/,
    ],
    [
      'a fraction of nothing',
      { filters: [filter({ case: 'mirror', value: { numerator: 1 } })] },
      /mirror\.denominator/,
    ],
    [
      'an origin',
      { filters: [filter({ case: 'cors', value: { allowOrigins: ['a.example'] } })] },
      /cors\.allowOrigins\[0\]: "a\.example"/,
    ],
    [
      'a method',
      { filters: [filter({ case: 'cors', value: { allowMethods: ['GET,'] } })] },
      /cors\.allowMethods\[0\]/,
    ],
    [
      'a filter of a later version',
      { filters: [filter(undefined)] },
      /filters\[0\]: "" is not allowed; allowed: a filter of this version/,
    ],
    [
      'a backend',
      {
        backends: [
          {
            service: 's',
            port: 1,
            weight: 1,
            filters: [filter({ case: 'rewrite', value: { hostname: '-' } })],
          },
        ],
      },
      /backends\[0\]\.filters\[0\]\.rewrite\.hostname/,
    ],
  ];
  for (const [what, rule, message] of cases) {
    it(`are refused by name: ${what}`, () => assert.match(refused(rule), message));
  }
  it('are not those that replace a prefix where every match has one', () => {
    const filters = [filter({ case: 'rewrite', value: { path: start('/x') } })];
    assert.equal(refused({ matches: [prefix('/a'), {}], filters }), 'compiled');
    assert.equal(refused({ filters }), 'compiled');
  });
});
