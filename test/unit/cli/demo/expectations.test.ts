import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import type { AccessLine } from '../../../../cli/demo/access-log.ts';
import { EdgeBook, type LiveRow } from '../../../../cli/demo/edges.ts';
import { findWrong } from '../../../../cli/demo/expectations.ts';

const id = (name: string): string => `spiffe://cluster.local/ns/shop/sa/${name}`;
const group = (pod: string): string => (pod.split('/')[1] ?? '').replace(/-\d$/, '');

/** Both ztunnels' lines of one connection. */
function call(from: string, to: string, over: Partial<AccessLine> = {}): AccessLine[] {
  const line = {
    source: `shop/${from}`,
    destination: `shop/${to}`,
    sourceIdentity: id(group(`x/${from}`)),
    destinationIdentity: id(group(`x/${to}`)),
    bytesSent: 10,
    bytesReceived: 20,
    durationMs: 3,
    ...over,
  };
  return [
    { direction: 'outbound', ...line },
    { direction: 'inbound', ...line },
  ];
}

function denied(from: string, to: string, policy: string, over: Partial<AccessLine> = {}): AccessLine[] {
  return call(from, to, { bytesSent: 0, bytesReceived: 0, error: 'denied', flags: 'DENY', policy, ...over });
}

const live: LiveRow[] = (['outbound', 'inbound'] as const).map((direction) => ({
  id: 1,
  direction,
  state: 'open',
  source: { workload: 'backend', namespace: 'shop', identity: id('backend') },
  destination: { workload: 'db', namespace: 'shop', identity: id('db') },
  bytesSent: 5,
  bytesReceived: 6,
}));

const RIGHT: readonly AccessLine[] = [
  ...call('frontend', 'auth'),
  ...call('frontend', 'payments-1'),
  ...call('frontend', 'payments-2'),
  ...call('payments-1', 'backend'),
  ...denied('auth', 'payments-2', 'shop/payments-only-from-frontend'),
  ...denied('frontend', 'db', 'shop/database-only-from-backend'),
];

function wrongWith(lines: readonly AccessLine[], rows: readonly LiveRow[] = live): string[] {
  const book = new EdgeBook(group);
  for (const line of lines) book.add(line);
  book.setLive(rows);
  return findWrong(book.edges());
}

describe('demo: what --once takes for right', () => {
  it('finds nothing wrong with the shop as its manifests say', () => {
    assert.deepEqual(wrongWith(RIGHT), []);
  });

  it('counts connections that live', () => {
    const book = new EdgeBook(group);
    book.setLive(live);
    const [edge] = book.edges();
    assert.equal(edge?.live, 1);
    assert.equal(edge.bytesReceived, 6);
    assert.equal(edge.mutualTls, 1);
    book.setLive([]);
    assert.deepEqual(book.edges(), []);
  });

  const faults: readonly [string, readonly AccessLine[], RegExp][] = [
    ['a call that is missing', RIGHT.slice(2), /frontend → auth: no call was seen/],
    [
      'a pod that is never used',
      RIGHT.filter((l) => l.destination !== 'shop/payments-2'),
      /payments-2 was never called/,
    ],
    [
      'an error',
      [...RIGHT, ...call('frontend', 'auth', { error: 'cannot connect', flags: 'CONNECT' })],
      /1 errors/,
    ],
    [
      'a wrong identity',
      [...RIGHT, ...call('frontend', 'auth', { sourceIdentity: id('db') })],
      /caller proved to be/,
    ],
    ['a call nobody expects', [...RIGHT, ...call('db', 'auth')], /db → auth: nobody expects/],
    ['a denied call that got through', [...RIGHT, ...call('auth', 'payments-1')], /1 calls got through/],
    [
      'a byte on a denied connection',
      [...RIGHT, ...denied('frontend', 'db', 'shop/database-only-from-backend', { bytesReceived: 1 })],
      /bytes passed before the denial/,
    ],
    [
      'another policy',
      [...RIGHT, ...denied('auth', 'payments-1', 'shop/other')],
      /denied by shop\/other, shop\/payments-only/,
    ],
    [
      'plaintext',
      [
        ...RIGHT,
        {
          direction: 'inbound',
          source: 'shop/frontend',
          destination: 'shop/auth',
          bytesSent: 1,
          bytesReceived: 1,
          durationMs: 1,
        },
      ],
      /1 connections came in plaintext/,
    ],
  ];
  it('sees plaintext that was denied, too', () => {
    const { sourceIdentity: _, ...plain } =
      denied('frontend', 'db', 'shop/database-only-from-backend')[1] ?? {};
    assert.match(
      wrongWith([...RIGHT, plain as AccessLine]).join('\n'),
      /frontend → db: 1 connections came in plaintext/,
    );
  });

  for (const [what, lines, message] of faults)
    it(`sees ${what}`, () => {
      assert.match(wrongWith(lines).join('\n'), message);
    });

  it('tells a connection that a new policy ended from one that was denied', () => {
    const book = new EdgeBook(group);
    const error = 'closed due to policy change: allow policies exist, but none allowed';
    for (const line of denied('frontend', 'payments-1', 'shop/p', { error, bytesSent: 99 })) book.add(line);
    const [edge] = book.edges();
    assert.deepEqual([edge?.cut, edge?.denied], [1, 0]);
  });
});
