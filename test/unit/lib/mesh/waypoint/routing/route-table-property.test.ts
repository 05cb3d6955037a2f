import assert from 'node:assert/strict';
import fc from 'fast-check';
import { describe, it } from 'mocha';
import type { Route, RouteMatch } from '../../../../../../proto/gen/loam/waypoint/v1/waypoint_pb.js';
import type { RequestHead } from '../../../../../../lib/mesh/waypoint/request.ts';
import { RouteTable } from '../../../../../../lib/mesh/waypoint/routing/route-table.ts';
import { exact, head, is, like, prefix, regex, route, SERVICE, type MatchInit } from './fixtures.ts';

/**
 * A second reading of the rules, as plain as can be: go through everything, keep what fits, sort by the list of the
 * precedence. JavaScript's own regexes stand in for RE2's.
 */
function naive(routes: readonly Route[], request: RequestHead, namespace: string | undefined): string {
  const attached = (consumer: string): Route[] =>
    routes.filter((r) =>
      r.parents.some(
        (p) =>
          p.service === SERVICE &&
          p.consumerNamespace === consumer &&
          (p.port === 0 || p.port === request.port),
      ),
    );
  const own = namespace === undefined ? [] : attached(namespace);
  const used = own.length > 0 ? own : attached('');
  if (used.length === 0) return 'no-routes';

  const found: { name: string; rank: (number | string)[] }[] = [];
  for (const r of used) {
    const host = request.authority.replace(/:\d+$/, '');
    const hostRanks = r.hostnames.flatMap((name) =>
      name === host
        ? [[1, name.length]]
        : name.startsWith('*.') && host.endsWith(name.slice(1)) && host.length > name.length - 1
          ? [[0, name.length]]
          : [],
    );
    if (r.hostnames.length === 0) hostRanks.push([0, 0]);
    hostRanks.sort((a, b) => Number(b[0]) - Number(a[0]) || Number(b[1]) - Number(a[1]));
    const best = hostRanks[0];
    if (best === undefined) continue;
    for (const [ruleIndex, rule] of r.rules.entries()) {
      for (const [matchIndex, m] of rule.matches.entries()) {
        const path = pathRank(m, request.path);
        if (path === undefined || !othersFit(m, request)) continue;
        const conditions = [m.method === '' ? 0 : -1, -m.headers.length, -m.query.length];
        found.push({
          name: `${r.namespace}/${r.name} ${ruleIndex} ${matchIndex}`,
          rank: [
            ...best.map((n) => -n),
            ...path.map((n) => -n),
            ...conditions,
            Number(r.creationTime),
            r.namespace,
            r.name,
            ruleIndex,
            matchIndex,
          ],
        });
      }
    }
  }
  found.sort((a, b) => {
    const at = a.rank.findIndex((value, i) => value !== b.rank[i]);
    return at === -1 ? 0 : (a.rank[at] ?? 0) < (b.rank[at] ?? 0) ? -1 : 1;
  });
  return found[0]?.name ?? 'no-match';
}

function pathRank({ path }: RouteMatch, actual: string): [number, number] | undefined {
  switch (path?.how.case) {
    case 'exact':
      return actual === path.how.value ? [3, 0] : undefined;
    case 'prefix': {
      const wanted = path.how.value.replace(/\/$/, '');
      if (!`${actual}/`.startsWith(`${wanted}/`)) return undefined;
      return wanted === '' ? [0, 0] : [2, wanted.length];
    }
    case 'regex':
      return new RegExp(`^(?:${path.how.value})$`).test(actual) ? [1, path.how.value.length] : undefined;
    case undefined:
      return [0, 0];
  }
}

function othersFit(m: RouteMatch, request: RequestHead): boolean {
  const fits = (how: RouteMatch['headers'][number]['how'], value: string | null | undefined): boolean =>
    typeof value === 'string' &&
    (how.case === 'exact'
      ? how.value === value
      : new RegExp(`^(?:${how.case === undefined ? '' : how.value})$`).test(value));
  return (
    (m.method === '' || m.method === request.method) &&
    m.headers.every(({ name, how }) => {
      const value = request.headers[name];
      return fits(how, typeof value === 'string' ? value : undefined);
    }) &&
    m.query.every(({ name, how }) => fits(how, new URLSearchParams(request.query).get(name)))
  );
}

// Few words, so that much matches, and much matches alike.
const element = fc.constantFrom('a', 'b', 'ab');
const path = fc.array(element, { maxLength: 3 }).map((elements) => `/${elements.join('/')}`);
const pathMatch: fc.Arbitrary<MatchInit> = fc.oneof(
  fc.constant({}),
  path.map(exact),
  path.map(prefix),
  path.map((p) => prefix(p.endsWith('/') ? p : `${p}/`)),
  fc.constantFrom('/a.*', '/.b', '/[ab]+', '/a|/b', '.*').map(regex),
);
const method = fc.constantFrom('GET', 'POST', 'PUT');
const value = fc.constantFrom('1', '2', '3');
const condition = fc.tuple(
  fc.constantFrom('x', 'y', 'z'),
  fc.oneof(value, fc.constantFrom('[12]', '.', '3?')),
);
const conditions = fc
  .uniqueArray(condition, { selector: ([name]) => name, maxLength: 2 })
  .map((list) => list.map(([name, v]) => (/^\d$/.test(v) ? is(name, v) : like(name, v))));
const match = fc
  .tuple(pathMatch, fc.option(method, { nil: '' }), conditions, conditions)
  .map(([p, m, headers, query]): MatchInit => ({ ...p, method: m, headers, query }));
const hostname = fc.constantFrom('a.x.org', 'b.x.org', '*.x.org', '*.org', '*.a.x.org');
const parent = fc.record({
  service: fc.constantFrom(SERVICE, SERVICE, SERVICE, 'shop/other'),
  port: fc.constantFrom(0, 0, 80, 81),
  consumerNamespace: fc.constantFrom('', '', 'web'),
});
const routes = fc
  .array(
    fc.record({
      creationTime: fc.bigInt(0n, 2n),
      namespace: fc.constantFrom('shop', 'web'),
      hostnames: fc.uniqueArray(hostname, { maxLength: 2 }),
      parents: fc.array(parent, { minLength: 1, maxLength: 2 }),
      rules: fc.array(fc.record({ matches: fc.array(match, { minLength: 1, maxLength: 8 }) }), {
        minLength: 1,
        maxLength: 4,
      }),
    }),
    { maxLength: 8 },
  )
  .map((list) => list.map((init, index) => route(`r${index}`, init)));
const pairs = fc.dictionary(fc.constantFrom('x', 'y', 'z'), value);
const request = fc
  .record({
    path: fc.tuple(path, fc.boolean()).map(([p, slash]) => (slash && p !== '/' ? `${p}/` : p)),
    method,
    authority: fc.constantFrom('a.x.org', 'b.x.org:80', 'c.a.x.org', 'x.org', 'org', 'd.org:8080'),
    query: pairs.map((query) => new URLSearchParams(query).toString()),
    port: fc.constantFrom(80, 81, 82),
    headers: pairs,
  })
  .map(({ path: p, ...rest }) => head(p, rest));

function look(table: RouteTable, asked: RequestHead, namespace: string | undefined): string {
  const result = table.match(asked, namespace);
  if (result.kind !== 'matched') return result.kind;
  const { route: r, rule, match: m } = result;
  const matchIndex = rule.rule.matches.findIndex((one) => one === m);
  return `${r.namespace}/${r.name} ${rule.index} ${matchIndex}`;
}

describe('a table of routes, against a scan of all of them', () => {
  it('finds the same', () => {
    const namespaces = fc.constantFrom('web', 'shop', undefined);
    const requests = fc.array(fc.tuple(request, namespaces), { minLength: 8, maxLength: 8 });
    fc.assert(
      fc.property(routes, requests, (all, asked) => {
        const table = new RouteTable(SERVICE, all);
        for (const [one, namespace] of asked) {
          assert.equal(look(table, one, namespace), naive(all, one, namespace));
        }
      }),
      { numRuns: 1500 },
    );
  });

  it('finds the same in one place with many matches, which are indexed', () => {
    const crowded = fc
      .array(match, { minLength: 30, maxLength: 80 })
      .map((matches) => [
        route('r', { rules: matches.map((one) => ({ matches: [{ ...one, ...prefix('/') }] })) }),
      ]);
    fc.assert(
      fc.property(crowded, fc.array(request, { minLength: 8, maxLength: 8 }), (all, asked) => {
        const table = new RouteTable(SERVICE, all);
        for (const one of asked) {
          assert.equal(
            look(table, { ...one, port: 80 }, undefined),
            naive(all, { ...one, port: 80 }, undefined),
          );
        }
      }),
      { numRuns: 500 },
    );
  });

  it('finds the same among more names of headers and parameters than a request has', () => {
    const rules = Array.from({ length: 200 }, (_, i) => ({
      matches: [i % 2 === 0 ? { headers: [is(`h${i}`, '1')] } : { query: [is(`q${i}`, '1')] }],
    }));
    const all = [route('r', { rules })];
    const table = new RouteTable(SERVICE, all);
    for (const [headers, query] of [
      [{ h4: '1', h8: '1', x: '1' }, ''],
      [{ h4: '2', h8: '1' }, ''],
      [{}, 'x=1&q7=2&q9=1'],
      [{ h8: '1' }, 'q5=1'],
      [{ host: '1' }, 'q=1'],
    ] as const) {
      const one = head('/', { headers, query });
      assert.equal(look(table, one, undefined), naive(all, one, undefined));
    }
  });
});
