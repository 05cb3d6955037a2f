import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { findWrongRequests } from '../../../../cli/demo/request-expectations.ts';
import type { RequestLine } from '../../../../cli/demo/request-log.ts';
import { splits } from '../../../../cli/demo/splits.ts';
import { book, charge, denial, id, request, ROUTE } from './support/requests.ts';

const POLICY = 'shop/payments-only-charges';
const times = (count: number, line: RequestLine): RequestLine[] => Array.from({ length: count }, () => line);

const V1 = [...times(45, charge('v1', 'payments-v1-1')), ...times(45, charge('v1', 'payments-v1-2'))];
const V2 = [...times(9, charge('v2', 'payments-v2')), charge('v2', 'payments-v2', { attempts: 2 })];
const FALLBACK = request('frontend', 'auth', 'auth-fallback', { fallback: true, attempts: 2, flags: ['FB'] });
const DENIED = denial('auth', 'payments', 'POST /charge', POLICY);
const OTHERS = [
  ...times(60, request('frontend', 'auth', 'auth')),
  FALLBACK,
  ...times(99, request('payments-v1-1', 'backend', 'backend')),
  request('frontend', 'payments', 'payments-v1-1', {
    source: 'kiosk/frontend',
    sourceIdentity: 'spiffe://cluster.local/ns/kiosk/sa/frontend',
  }),
  DENIED,
  denial('frontend', 'payments', 'GET /charges', POLICY),
];
const RIGHT: readonly RequestLine[] = [...V1, ...V2, ...OTHERS];

function wrongWith(lines: readonly RequestLine[], weights = [0.9, 0.1]): string {
  const seen = book(lines);
  const [v1 = 0, v2 = 0] = weights;
  const configured = new Map([
    [
      ROUTE,
      new Map([
        ['payments-v1', v1],
        ['payments-v2', v2],
      ]),
    ],
  ]);
  return findWrongRequests({
    requests: seen.requests(),
    denied: seen.denied(),
    splits: splits(configured, seen.shares()),
  }).join('\n');
}

describe('demo: what --once takes for right of requests', () => {
  it('finds nothing wrong with the shop as its manifests say', () => {
    assert.equal(wrongWith(RIGHT), '');
  });

  it('has something to say when nothing was seen', () => {
    const all = findWrongRequests({ requests: [], denied: [], splits: [] });
    assert.equal(all.length, 7, all.join('\n'));
  });

  const without = (line: RequestLine): RequestLine[] => RIGHT.filter((each) => each !== line);
  const { sourceIdentity: _, ...unproved } = request('frontend', 'auth', 'auth');
  const faults: readonly [string, readonly RequestLine[], RegExp][] = [
    [
      'an error that a client saw',
      [...RIGHT, charge('v2', 'payments-v2', { status: 503, attempts: 4, flags: ['URX'] })],
      /frontend → payments: the client saw 1 errors, the last: 503 URX/,
    ],
    [
      'failures that were never there to hide',
      [...V1, ...times(10, charge('v2', 'payments-v2')), ...OTHERS],
      /no failure of payments-v2 was hidden/,
    ],
    [
      'a fallback that never answered',
      without(FALLBACK),
      /the fallback never answered\n.*fallback proved to be none/,
    ],
    [
      'a fallback that nobody asked for',
      [...RIGHT, charge('v1', 'payments-v1-1', { fallback: true })],
      /frontend → payments: 1 were answered by a fallback/,
    ],
    [
      'a split that is not the configured one',
      [...V1, ...V2, ...V2, ...V2, ...OTHERS],
      /payments-v2 got 30 of 120 requests, which is not 10\.0 %/,
    ],
    [
      'too few requests to judge',
      [...V1.slice(0, 20), ...V2, ...OTHERS],
      /30 requests were counted, and 50 are needed/,
    ],
    [
      'a pod that never answered',
      [...times(90, charge('v1', 'payments-v1-1')), ...V2, ...OTHERS],
      /payments-v1-2 never answered/,
    ],
    ['a denial that is missing', without(DENIED), /auth → payments: POST \/charge was never denied/],
    [
      'a denial by another policy',
      [...RIGHT, { ...DENIED, policy: 'shop/other' }],
      /POST \/charge was denied by shop\/other, shop\/payments-only/,
    ],
    ['a denial too late', [...RIGHT, { ...DENIED, attempts: 1 }], /reached an endpoint 1 times/],
    [
      'a denial nobody expects',
      [...RIGHT, denial('frontend', 'auth', 'POST /sign-in', 'shop/p')],
      /frontend → auth: POST \/sign-in was denied 1 times by shop\/p/,
    ],
    [
      'a request that should be denied',
      [...RIGHT, request('auth', 'payments', 'payments-v1-1')],
      /auth → payments: 1 requests got through, and none should/,
    ],
    [
      'a wrong identity',
      [...RIGHT, request('frontend', 'auth', 'auth', { destinationIdentity: id('db') })],
      /called proved to be .*\/auth, .*\/db, not .*\/auth$/m,
    ],
    ['no identity', [...RIGHT, unproved], /1 requests came without a proof/],
  ];
  for (const [what, lines, message] of faults)
    it(`sees ${what}`, () => {
      assert.match(wrongWith(lines), message);
    });

  it("sees weights that are not the shop's own", () => {
    assert.match(wrongWith(RIGHT, [0.5, 0.5]), /payments-v2 is configured to get 50\.0 %, not 10\.0 %/);
  });
});
