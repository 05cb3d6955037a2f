import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import type { RequestHead } from '../../../../waypoint/http/request.ts';
import { RouteTable } from '../../../../waypoint/routing/route-table.ts';
import { exact, head, is, prefix, route, SERVICE, type MatchInit } from './fixtures.ts';

/** What is looked at for one request: every reading of its parts counts as a step. */
function steps(table: RouteTable, request: RequestHead): number {
  let count = 0;
  const counting = <T extends object>(target: T): T =>
    new Proxy(target, {
      get: (of, name): unknown => {
        count += 1;
        return Reflect.get(of, name);
      },
    });
  const watched = counting({ ...request, headers: counting(request.headers) });
  assert.equal(table.match(watched, undefined).kind, 'matched');
  return count;
}

type Shape = {
  match?: (i: number) => MatchInit;
  hostname?: (i: number) => string;
  ask: (i: number) => RequestHead;
};

/** The shapes in which routes come by thousands; the last one among `count` is asked for. */
const SHAPES: Record<string, Shape> = {
  'exact paths': { match: (i) => exact(`/a/${i}`), ask: (i) => head(`/a/${i}`) },
  prefixes: { match: (i) => prefix(`/a/${i}`), ask: (i) => head(`/a/${i}/b/c`) },
  hosts: { hostname: (i) => `h${i}.example`, ask: (i) => head('/', { authority: `h${i}.example` }) },
  'wildcard hosts': {
    hostname: (i) => `*.h${i}.example`,
    ask: (i) => head('/', { authority: `a.h${i}.example` }),
  },
  'values of a header': {
    match: (i) => ({ headers: [is('x-tenant', `${i}`)] }),
    ask: (i) => head('/', { headers: { 'x-tenant': `${i}` } }),
  },
  'values of one of two headers': {
    match: (i) => ({ method: 'GET', headers: [is('x-env', 'prod'), is('x-tenant', `${i}`)] }),
    ask: (i) => head('/', { headers: { 'x-env': 'prod', 'x-tenant': `${i}` } }),
  },
  'names of headers': {
    match: (i) => ({ headers: [is(`x-${i}`, '1')] }),
    ask: (i) => head('/', { headers: { [`x-${i}`]: '1' } }),
  },
  'values of a parameter': {
    match: (i) => ({ query: [is('tenant', `${i}`)] }),
    ask: (i) => head('/', { query: `tenant=${i}` }),
  },
};

function table({ match, hostname }: Shape, count: number): RouteTable {
  const routes = Array.from({ length: count }, (_, i) =>
    route(`r${i}`, {
      hostnames: hostname === undefined ? [] : [hostname(i)],
      rules: [{ matches: match === undefined ? [] : [match(i)] }],
    }),
  );
  return new RouteTable(SERVICE, routes);
}

describe('a look-up among 5,000 routes', () => {
  for (const [what, shape] of Object.entries(SHAPES)) {
    it(`reads as little of a request as among 10: distinct ${what}`, () => {
      const [few, many] = [10, 5000].map((count) => steps(table(shape, count), shape.ask(count - 1)));
      assert.equal(many, few);
    });
  }

  it('tries a regular expression that many share once', () => {
    const shared = (i: number): MatchInit => ({
      path: { how: { case: 'regex', value: '/a/.*' } },
      headers: [is('x-tenant', `${i}`)],
    });
    const ask = (i: number): RequestHead => head('/a/b', { headers: { 'x-tenant': `${i}` } });
    const [few, many] = [10, 5000].map((count) =>
      steps(table({ match: shared, ask }, count), ask(count - 1)),
    );
    assert.equal(many, few);
  });
});
