import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import type { Route } from '../../../../../../proto/gen/loam/waypoint/v1/waypoint_pb.js';
import type { RequestHead } from '../../../../../../lib/mesh/waypoint/request.ts';
import { compileRoute } from '../../../../../../lib/mesh/waypoint/routing/compile-route.ts';
import { RouteError } from '../../../../../../lib/mesh/waypoint/routing/route-error.ts';
import { RouteTable } from '../../../../../../lib/mesh/waypoint/routing/route-table.ts';
import { exact, head, is, like, prefix, regex, route, routeOf, SERVICE, type MatchInit } from './fixtures.ts';

/** `name[rule]` of what takes a request, or why nothing does. */
function taker(routes: Route[], request: RequestHead, namespace?: string): string {
  const result = new RouteTable(SERVICE, routes).match(request, namespace);
  return result.kind === 'matched' ? `${result.route.name}[${result.rule.index}]` : result.kind;
}

/** Whether a rule with this one match takes a request. */
function takes(match: MatchInit, request: RequestHead): boolean {
  return taker([routeOf('r', match)], request) === 'r[0]';
}

describe('a table of routes', () => {
  describe('what a match asks', () => {
    const cases: [string, MatchInit, RequestHead, boolean][] = [
      ['nothing', {}, head('/x'), true],
      ['an exact path', exact('/a'), head('/a'), true],
      ['an exact path, not what follows it', exact('/a'), head('/a/'), false],
      ['an exact path, by case', exact('/a'), head('/A'), false],
      ['an exact path, whatever the query', exact('/a'), head('/a', { query: 'b=c' }), true],
      ['an exact path in another spelling', exact('/%61'), head('/a'), true],
      ['a prefix itself', prefix('/a'), head('/a'), true],
      ['a prefix and a slash', prefix('/a'), head('/a/'), true],
      ['a prefix by elements', prefix('/a'), head('/a/b'), true],
      ['a prefix, not within an element', prefix('/a'), head('/ab'), false],
      ['a prefix, its slash at the end ignored', prefix('/a/'), head('/a'), true],
      ['a prefix of several elements', prefix('/a/b'), head('/a/b/c'), true],
      ['a prefix of several elements, not one of them', prefix('/a/b'), head('/a'), false],
      ['the prefix of everything', prefix('/'), head('/x/y'), true],
      ['a regex of the whole path', regex('/a[0-9]+'), head('/a12'), true],
      ['a regex of the whole path, not a part', regex('/a[0-9]+'), head('/a12/x'), false],
      ['a regex of the whole path with alternatives', regex('/a|/b'), head('/b'), true],
      ['a regex of the whole path, not one alternative', regex('/a|/b'), head('/bc'), false],
      ['a method', { method: 'POST' }, head('/', { method: 'POST' }), true],
      ['a method, not another', { method: 'POST' }, head('/'), false],
      ['a header', { headers: [is('x-a', '1')] }, head('/', { headers: { 'x-a': '1' } }), true],
      [
        'a header, its name by any case',
        { headers: [is('X-A', '1')] },
        head('/', { headers: { 'x-a': '1' } }),
        true,
      ],
      [
        'a header, not another value',
        { headers: [is('x-a', '1')] },
        head('/', { headers: { 'x-a': '12' } }),
        false,
      ],
      ['a header, not its absence', { headers: [like('x-a', '.*')] }, head('/'), false],
      [
        'a header by regex',
        { headers: [like('x-a', '[0-9]+')] },
        head('/', { headers: { 'x-a': '12' } }),
        true,
      ],
      [
        'a header by regex as a whole',
        { headers: [like('x-a', '[0-9]')] },
        head('/', { headers: { 'x-a': '12' } }),
        false,
      ],
      ['all headers', { headers: [is('a', '1'), is('b', '2')] }, head('/', { headers: { a: '1' } }), false],
      ['the joined value', { headers: [is('a', '1, 2')] }, head('/', { headers: { a: '1, 2' } }), true],
      [
        'the first of two wants for a header',
        { headers: [is('a', '1'), is('A', '2')] },
        head('/', { headers: { a: '1' } }),
        true,
      ],
      ['the host as a header', { headers: [is('host', 'payments')] }, head('/'), true],
      ['a header named as a property of objects', { headers: [like('constructor', '.*')] }, head('/'), false],
      ['a parameter', { query: [is('v', '2')] }, head('/', { query: 'a=1&v=2' }), true],
      [
        'a parameter, the first of its name',
        { query: [is('v', '2')] },
        head('/', { query: 'v=1&v=2' }),
        false,
      ],
      ['a parameter, decoded', { query: [is('v', 'a b/c')] }, head('/', { query: 'v=a+b%2Fc' }), true],
      ['a parameter, its name decoded', { query: [is('v w', '')] }, head('/', { query: 'v%20w' }), true],
      ['a parameter, its name by case', { query: [is('V', '2')] }, head('/', { query: 'v=2' }), false],
      ['a parameter by regex', { query: [like('v', '[12]')] }, head('/', { query: 'v=2' }), true],
      ['a parameter, not its absence', { query: [like('v', '.*')] }, head('/', { query: 'w=2' }), false],
      ['path and method', { ...prefix('/a'), method: 'PUT' }, head('/a'), false],
    ];
    for (const [what, match, request, expected] of cases) {
      it(`${expected ? 'takes' : 'passes over'}: ${what}`, () =>
        assert.equal(takes(match, request), expected));
    }

    it('is one of several', () => {
      const routes = [route('r', { rules: [{ matches: [exact('/a'), exact('/b')] }] })];
      const result = new RouteTable(SERVICE, routes).match(head('/b'), undefined);
      assert.ok(result.kind === 'matched');
      assert.equal(result.match, routes[0]?.rules[0]?.matches[1]);
    });

    it('is nothing in a rule without matches', () => {
      const result = new RouteTable(SERVICE, [route('r', { rules: [{}] })]).match(head('/b'), undefined);
      assert.ok(result.kind === 'matched');
      assert.equal(result.match, undefined);
      assert.equal(result.prefix, '');
    });

    it('tells the prefix to replace', () => {
      const table = new RouteTable(SERVICE, [routeOf('r', prefix('/a/b/'), exact('/c'))]);
      const prefixOf = (path: string): unknown => {
        const result = table.match(head(path), undefined);
        return result.kind === 'matched' ? result.prefix : result.kind;
      };
      assert.equal(prefixOf('/a/b/c'), '/a/b');
      assert.equal(prefixOf('/c'), undefined);
      assert.equal(prefixOf('/d'), 'no-match');
    });
  });

  describe('hostnames', () => {
    const hosts = (...hostnames: string[]): Route[] => [route('r', { hostnames, rules: [{}] })];
    const cases: [string, string[], string, boolean][] = [
      ['none', [], 'anything', true],
      ['an exact one', ['a.example'], 'a.example', true],
      ['an exact one with a port', ['a.example'], 'a.example:8080', true],
      ['an exact one by any case', ['A.example'], 'a.EXAMPLE', true],
      ['an exact one with the dot of the root', ['a.example'], 'a.example.', true],
      ['another one', ['a.example'], 'b.example', false],
      ['a wildcard for one label', ['*.example.com'], 'a.example.com', true],
      ['a wildcard for two labels', ['*.example.com'], 'a.b.example.com:80', true],
      ['a wildcard, not for no label', ['*.example.com'], 'example.com', false],
      ['a wildcard, not for an empty label', ['*.example.com'], '.example.com', false],
      ['a wildcard, not within a label', ['*.example.com'], 'aexample.com', false],
      ['one of several', ['a.example', 'b.example'], 'b.example', true],
      ['an IPv6 address', ['a.example'], '[fd00::1]:80', false],
    ];
    for (const [what, hostnames, authority, expected] of cases) {
      it(`${expected ? 'fit' : 'do not fit'}: ${what}`, () =>
        assert.equal(taker(hosts(...hostnames), head('/', { authority })), expected ? 'r[0]' : 'no-match'));
    }

    it('go by the most specific one, before anything in the match', () => {
      const routes = [
        route('all', { rules: [{ matches: [exact('/a')] }] }),
        route('short', { hostnames: ['*.com'], rules: [{ matches: [exact('/a')] }] }),
        route('long', {
          hostnames: ['*.example.com'],
          rules: [{ matches: [{ ...prefix('/'), method: 'GET' }] }],
        }),
        route('exact', { hostnames: ['a.example.com'], rules: [{ matches: [prefix('/x')] }] }),
      ];
      const at = (authority: string, path: string): string => taker(routes, head(path, { authority }));
      assert.equal(at('a.example.com', '/x'), 'exact[0]');
      assert.equal(
        at('a.example.com', '/a'),
        'long[0]',
        'the next one, where the best has no rule that fits',
      );
      assert.equal(at('b.com', '/a'), 'short[0]');
      assert.equal(at('b.org', '/a'), 'all[0]');
      assert.equal(at('b.org', '/b'), 'no-match');
    });
  });

  describe('precedence', () => {
    const both = (first: MatchInit, second: MatchInit, request: RequestHead): void => {
      assert.equal(taker([routeOf('r', first, second)], request), 'r[0]');
      assert.equal(taker([routeOf('r', second, first)], request), 'r[1]');
    };
    const rich = { method: 'GET', headers: [is('a', '1')], query: [is('q', '1')] };
    const request = head('/a/b', { query: 'q=1&r=1', headers: { a: '1', b: '1' } });
    it('puts an exact path before a prefix', () =>
      both(exact('/a/b'), { ...prefix('/a/b'), ...rich }, request));
    it('puts a longer prefix before a shorter one', () =>
      both(prefix('/a/b'), { ...prefix('/a'), ...rich }, request));
    it('puts a prefix before a regex', () => both(prefix('/a'), { ...regex('/a/.*'), ...rich }, request));
    it('puts a regex before any path', () => both(regex('/.*'), { ...prefix('/'), ...rich }, request));
    it('puts a longer regex before a shorter one', () =>
      both(regex('/a/[b]'), { ...regex('/.*'), ...rich }, request));
    it('puts a method before headers', () =>
      both({ method: 'GET' }, { headers: [is('a', '1'), is('b', '1')] }, request));
    it('puts more headers before fewer', () =>
      both(
        { headers: [is('a', '1'), is('b', '1')] },
        { headers: [is('a', '1')], query: [is('q', '1')] },
        request,
      ));
    it('puts more parameters before fewer', () =>
      both({ query: [is('q', '1'), is('r', '1')] }, { query: [is('q', '1')] }, request));
    it('puts the first rule before the second', () =>
      assert.equal(taker([routeOf('r', prefix('/a'), prefix('/a'))], request), 'r[0]'));

    it('puts the older route first, then namespace and name', () => {
      const rules = [{ matches: [prefix('/a')] }];
      const routes = [
        route('a', { rules, creationTime: 2n }),
        route('c', { rules, creationTime: 1n }),
        route('b', { rules, creationTime: 1n }),
        route('z', { rules, creationTime: 1n, namespace: 'a' }),
      ];
      assert.equal(taker(routes, request), 'z[0]');
      assert.equal(taker(routes.slice(0, 3), request), 'b[0]');
      assert.equal(taker(routes.slice(0, 2), request), 'c[0]');
    });
  });

  describe('parents', () => {
    const at = (name: string, port: number, consumerNamespace = ''): Route =>
      route(name, { parents: [{ service: SERVICE, port, consumerNamespace }], rules: [{}] });

    it('of another Service are passed over', () => {
      const other = route('r', { parents: [{ service: 'shop/other' }], rules: [{}] });
      assert.equal(taker([other], head()), 'no-routes');
    });

    it('may name one port', () => {
      assert.equal(taker([at('r', 80)], head()), 'r[0]');
      assert.equal(taker([at('r', 80)], head('/', { port: 81 })), 'no-routes');
    });

    it('of a port and of the whole Service stand side by side', () => {
      const routes = [at('port', 80), route('all', { rules: [{ matches: [exact('/x')] }] })];
      assert.equal(taker(routes, head('/x')), 'all[0]', 'by precedence, not by parent');
      assert.equal(taker(routes, head('/y')), 'port[0]');
      assert.equal(taker(routes, head('/y', { port: 81 })), 'no-match');
    });

    it('of consumers stand in place of the producer, for their namespace alone', () => {
      const routes = [route('producer', { rules: [{}] }), at('consumer', 0, 'web')];
      assert.equal(taker(routes, head(), 'web'), 'consumer[0]');
      assert.equal(taker(routes, head(), 'shop'), 'producer[0]');
      assert.equal(taker(routes, head()), 'producer[0]');
      assert.equal(taker([at('consumer', 0, 'web')], head(), 'shop'), 'no-routes');
    });

    it('of consumers leave no way to the producer where none of them fits', () => {
      const consumer = route('consumer', {
        parents: [{ service: SERVICE, consumerNamespace: 'web' }],
        rules: [{ matches: [exact('/x')] }],
      });
      assert.equal(taker([consumer, route('producer', { rules: [{}] })], head('/y'), 'web'), 'no-match');
    });

    it('of consumers on another port leave the producer where it is', () => {
      assert.equal(taker([at('consumer', 81, 'web'), at('producer', 0)], head(), 'web'), 'producer[0]');
    });

    it('tell no routes from none that matches', () => {
      assert.equal(taker([], head()), 'no-routes');
      assert.equal(taker([routeOf('r', exact('/a'))], head('/b')), 'no-match');
      assert.equal(
        taker([route('r')], head()),
        'no-match',
        'a route that lost its rules lets nothing past it',
      );
    });
  });

  describe('a route that cannot be compiled', () => {
    const cases: [string, Route, RegExp][] = [
      [
        'a bad regex',
        routeOf('r', {}, regex('/(')),
        /HTTPRoute shop\/r: rules\[1\]\.matches\[0\]\.path\.regex: "\/\(" is not allowed; allowed: a regular expression of RE2/,
      ],
      [
        'a bad regex of a header',
        routeOf('r', { headers: [like('a', '(?=x)')] }),
        /rules\[0\]\.matches\[0\]\.headers\[0\]\.regex: "\(\?=x\)"/,
      ],
      ['a bad regex of a parameter', routeOf('r', { query: [like('a', '*')] }), /query\[0\]\.regex: "\*"/],
      ['a path without a slash', routeOf('r', exact('a')), /path\.exact: "a" is not allowed/],
      ['a path that no request has', routeOf('r', prefix('/a\\b')), /path\.prefix/],
      [
        'a want of nothing',
        routeOf('r', { headers: [{ name: 'a' }] }),
        /headers\[0\]: "a" is not allowed; allowed: exact or regex/,
      ],
      [
        'a named rule',
        route('r', { rules: [{ name: 'main', matches: [regex('[')] }] }),
        /rules\[0\] \(main\)\.matches/,
      ],
    ];
    for (const [what, bad, message] of cases) {
      it(`names route, rule, field, value and what is allowed: ${what}`, () =>
        assert.throws(
          () => new RouteTable(SERVICE, [bad]),
          (error) =>
            error instanceof RouteError && error.code === 'ROUTE_INVALID' && message.test(error.message),
        ));
    }
  });

  describe('a table that is built again', () => {
    it('keeps what was compiled of routes that stayed', () => {
      const stays = routeOf('stays', regex('/a.*'));
      const first = compileRoute(stays);
      new RouteTable(SERVICE, [stays, routeOf('goes', {})]);
      assert.equal(compileRoute(stays), first);
    });

    it('lets a new version of a route go on in the sequence of its backends', () => {
      const old = routeOf('r', {}, {});
      const phases = compileRoute(old).rules.map((rule) => rule.choice.phase);
      const next = compileRoute(routeOf('r', {}, {}, {}), old);
      assert.equal(next.rules[0]?.choice.phase, phases[0]);
      assert.equal(next.rules[1]?.choice.phase, phases[1]);
      assert.notEqual(next.rules[2]?.choice.phase, undefined);
    });
  });

  describe('what regular expressions may cost', () => {
    const greedy = Array.from({ length: 10 }, (_, n) => routeOf(`r${n}`, regex(`/.*a.{${990 + n}}b`)));
    const long = `/${'ac'.repeat(8_000)}`;

    it('is bounded for one request, which is refused and falls through to nothing', () => {
      assert.equal(taker([...greedy, routeOf('rest', prefix('/'))], head(long)), 'too-costly');
      assert.equal(taker([...greedy, routeOf('rest', prefix('/'))], head('/short')), 'rest[0]');
    });

    it('counts headers and parameters too', () => {
      const byHeader = routeOf('h', { headers: [like('x-a', '.*a.{900}b')] });
      assert.equal(taker([byHeader], head('/', { headers: { 'x-a': 'ac'.repeat(8_000) } })), 'too-costly');
    });

    it('leaves ordinary ones alone on long paths', () => {
      const ordinary = Array.from({ length: 20 }, (_, n) => routeOf(`r${n}`, regex(`/v${n}/users/[0-9]+`)));
      assert.equal(taker(ordinary, head(`/v7/users/${'1'.repeat(400)}`)), 'r7[0]');
    });
  });
});
