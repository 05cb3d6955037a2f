import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { configuredShares, plausible, splits } from '../../../../cli/demo/splits.ts';
import { book, charge, denial, id, request, ROUTE } from './support/requests.ts';

describe('demo: requests through a waypoint', () => {
  it('tells failures of an application from those that a client saw', () => {
    const [auth, payments, ...others] = book([
      charge('v1', 'payments-v1-1'),
      charge('v2', 'payments-v2', { attempts: 3 }),
      charge('v2', 'payments-v2', { attempts: 4, status: 503, flags: ['URX'], error: 'overloaded' }),
      charge('v1', 'payments-v1-1', { status: 404 }),
      charge('v1', 'payments-v1-1', { status: 0, flags: ['DC'] }),
      request('frontend', 'auth', 'auth'),
      request('frontend', 'auth', 'auth-fallback', { attempts: 2, fallback: true, flags: ['FB'] }),
    ]).requests();
    assert.deepEqual(others, []);
    assert.ok(auth && payments);
    assert.deepEqual([payments.from, payments.to, payments.count], ['frontend', 'payments', 5]);
    assert.deepEqual([payments.hidden, payments.errors], [2, 2]);
    assert.equal(payments.lastError, 'DC', 'no status is none');
    assert.deepEqual([auth.count, auth.hidden, auth.fallbacks, auth.errors], [2, 1, 1, 0]);
    assert.deepEqual([...auth.destinationIdentities], [id('auth')], 'the fallback is another');
    assert.deepEqual([...auth.fallbackIdentities], [id('auth-fallback')]);
    assert.deepEqual([...auth.destinations], ['shop/auth', 'shop/auth-fallback']);
  });

  it('counts what was denied apart, by what was asked, within bounds', () => {
    const denied = book([
      denial('auth', 'payments', 'POST /charge', 'shop/p'),
      denial('auth', 'payments', 'POST /charge', 'shop/p'),
      { ...denial('frontend', 'payments', 'GET /charges', 'shop/q'), attempts: 1 },
    ]);
    assert.deepEqual(denied.requests(), []);
    assert.deepEqual(
      denied
        .denied()
        .map(({ from, method, path, times, reached, policies }) => [
          ...[from, method, path, times, reached],
          [...policies],
        ]),
      [
        ['auth', 'POST', '/charge', 2, 0, ['shop/p']],
        ['frontend', 'GET', '/charges', 1, 1, ['shop/q']],
      ],
    );
    const many = book(Array.from({ length: 100 }, (_, i) => denial('auth', 'payments', `GET /${i}`, 'p')));
    assert.equal(many.denied().length, 33);
    assert.equal(
      many.denied().reduce((sum, { times }) => sum + times, 0),
      100,
    );
  });

  it('counts a request without a proof of who asks', () => {
    const { sourceIdentity: _, ...line } = request('frontend', 'auth', 'auth');
    assert.equal(book([line]).requests()[0]?.unproved, 1);
  });
});

describe('demo: splits', () => {
  const route = (weights: readonly (readonly [string, number | undefined])[]): unknown => ({
    metadata: { name: 'payments', namespace: 'shop' },
    spec: {
      rules: [
        { backendRefs: [{ name: 'alone', weight: 1 }] },
        {
          backendRefs: weights.map(([name, weight]) => ({
            name,
            port: 80,
            ...(weight === undefined ? {} : { weight }),
          })),
        },
        {},
      ],
    },
  });

  it('reads the shares of rules with several backends', () => {
    const shares = configuredShares([
      route([
        ['a', 3],
        ['b', undefined],
      ]),
    ]);
    assert.deepEqual(
      [...shares].map(([rule, of]) => [rule, Object.fromEntries(of)]),
      [['HTTPRoute/shop/payments#1', { a: 0.75, b: 0.25 }]],
    );
    assert.equal(
      configuredShares([
        route([
          ['a', 0],
          ['b', 0],
        ]),
      ]).size,
      0,
    );
    assert.equal(configuredShares([{}, { spec: {} }]).size, 0);
  });

  it('joins what is configured with what was counted', () => {
    const configured = new Map([
      [
        ROUTE,
        new Map([
          ['payments-v1', 0.9],
          ['payments-v2', 0.1],
        ]),
      ],
    ]);
    const seen = book([
      charge('v1', 'payments-v1-1'),
      charge('v1', 'payments-v1-2'),
      charge('v2', 'payments-v2', { attempts: 2 }),
      charge('v2', 'payments-v2', { fallback: true }),
      denial('auth', 'payments', 'POST /charge', 'p'),
      { ...charge('v1', 'x'), backend: 'old.shop.svc.cluster.local', status: 500 },
    ]).shares();
    assert.deepEqual(
      splits(configured, seen).map((split) => [
        ...[split.backend, split.configured, split.measured, split.count, split.hidden, split.errors],
      ]),
      [
        ['payments-v1', 0.9, 0.5, 2, 0, 0],
        ['payments-v2', 0.1, 0.25, 1, 1, 0],
        ['old', undefined, 0.25, 1, 0, 1],
      ],
    );
    assert.equal(splits(configured, [])[0]?.measured, undefined);
    assert.deepEqual(splits(new Map(), seen), [], 'what no route says is no split');
  });

  it('takes what chance does for right, and no more', () => {
    assert.ok(plausible(10, 100, 0.1));
    assert.ok(plausible(20, 100, 0.1));
    assert.ok(!plausible(25, 100, 0.1));
    assert.ok(!plausible(50, 100, 0.1));
    assert.ok(!plausible(0, 400, 0.1));
    assert.ok(plausible(100, 100, 1));
    assert.ok(!plausible(3, 100, 0), 'what must get nothing gets nothing');
  });
});
