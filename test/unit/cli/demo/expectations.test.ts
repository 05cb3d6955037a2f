import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import type { AccessLine } from '../../../../cli/demo/access-log.ts';
import { EdgeBook, type LiveRow } from '../../../../cli/demo/edges.ts';
import { findWrong } from '../../../../cli/demo/expectations.ts';

const id = (name: string): string => `spiffe://cluster.local/ns/shop/sa/${name}`;
const group = (pod: string): string =>
  (pod.startsWith('kiosk/') ? pod : (pod.split('/')[1] ?? '')).replace(/-\d$/, '');

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

const end = (name: string): LiveRow['source'] => ({ workload: name, namespace: 'shop', identity: id(name) });
const row = (direction: 'inbound' | 'outbound', from: string, to: string): LiveRow => ({
  ...{ id: 1, direction, state: 'open', source: end(from), destination: end(to) },
  ...{ bytesSent: 5, bytesReceived: 6 },
});
const live: LiveRow[] = [row('outbound', 'backend', 'db'), row('inbound', 'backend', 'db')];

/** A call to the waypoint, which the source's ztunnel alone logs, or from it, which the destination's alone does. */
const toWaypoint = (from: string, over: Partial<AccessLine> = {}): AccessLine[] =>
  call(from, 'waypoint', over)
    .slice(0, 1)
    .map(({ destination, ...line }) => ({
      ...line,
      service: 'payments.shop.svc.cluster.local',
      ...(destination === undefined ? {} : { via: destination }),
    }));
const fromWaypoint = (to: string, over: Partial<AccessLine> = {}): AccessLine[] =>
  call('waypoint', to, over).slice(1);

const KIOSK = { source: 'kiosk/frontend', sourceIdentity: 'spiffe://cluster.local/ns/kiosk/sa/frontend' };
const KIOSK_POLICY = 'kiosk/frontend-only-payments';

/** What the kiosk's own node refused: nothing is proved, and nobody else saw it. */
function refused(over: Partial<AccessLine>): AccessLine {
  return {
    ...{ direction: 'outbound', source: 'kiosk/frontend', bytesSent: 0, bytesReceived: 0, durationMs: 0 },
    ...{ error: 'denied: no rule allows it', flags: 'EGRESS', policy: KIOSK_POLICY },
    ...over,
  };
}
const svc = (name: string): string => `${name}.svc.cluster.local`;
const REFUSED: readonly AccessLine[] = [
  refused({ service: svc('backend.shop') }),
  // Without a waypoint a pod was chosen already, but it is the Service that was dialled.
  refused({ service: svc('db.shop'), destination: 'shop/db-2' }),
  refused({ service: svc('printer.kiosk'), destination: 'kiosk/printer' }),
  refused({ destinationAddress: '198.18.1.1:15020' }),
];

const RIGHT: readonly AccessLine[] = [
  ...toWaypoint('frontend'),
  ...toWaypoint('auth'),
  ...toWaypoint('payments-1'),
  ...fromWaypoint('auth'),
  ...fromWaypoint('auth-fallback'),
  ...fromWaypoint('payments-1'),
  ...fromWaypoint('backend'),
  ...denied('frontend', 'db', 'shop/database-only-from-backend'),
  ...toWaypoint('frontend', KIOSK),
  ...REFUSED,
];

function wrongWith(lines: readonly AccessLine[], rows: readonly LiveRow[] = live): string[] {
  const book = new EdgeBook(group, (workload) => workload === 'shop/waypoint');
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
    [
      'a refusal at the source that is missing',
      RIGHT.filter((line) => line.destinationAddress === undefined),
      /kiosk\/frontend → outside the mesh: no call was seen/,
    ],
    [
      'a call that should be refused at the source and gets through',
      [
        ...RIGHT,
        {
          ...refused({ service: svc('printer.kiosk') }),
          error: undefined,
          flags: undefined,
        } as unknown as AccessLine,
      ],
      /kiosk\/frontend → kiosk\/printer: 1 calls got through/,
    ],
    [
      'a refusal at the source by something else',
      [...RIGHT, refused({ service: svc('backend.shop'), policy: 'kiosk/other' })],
      /kiosk\/frontend → backend: denied by kiosk\/frontend-only-payments, kiosk\/other/,
    ],
    ['a call that is missing', RIGHT.slice(1), /frontend → waypoint: no call was seen/],
    [
      'an error',
      [...RIGHT, ...toWaypoint('frontend', { error: 'cannot connect', flags: 'CONNECT' })],
      /frontend → waypoint: 1 errors, the last: cannot connect/,
    ],
    [
      'an error on the way from the waypoint',
      [...RIGHT, ...fromWaypoint('payments-1', { error: 'refused', flags: 'CONNECT' })],
      /waypoint → payments: 1 errors/,
    ],
    [
      'a wrong identity',
      [...RIGHT, ...toWaypoint('frontend', { sourceIdentity: id('db') })],
      /caller proved to be/,
    ],
    [
      'somebody who passes himself off as the waypoint',
      [...RIGHT, ...fromWaypoint('backend', { sourceIdentity: id('db') })],
      /waypoint → backend: caller proved to be/,
    ],
    [
      'a way round the waypoint',
      [...RIGHT, ...call('frontend', 'payments-1')],
      /frontend → payments: nobody expects/,
    ],
    ['a call nobody expects', [...RIGHT, ...call('db', 'auth')], /db → auth: nobody expects/],
    ['a denied call that got through', [...RIGHT, ...call('frontend', 'db')], /1 calls got through/],
    [
      'a byte on a denied connection',
      [...RIGHT, ...denied('frontend', 'db', 'shop/database-only-from-backend', { bytesReceived: 1 })],
      /bytes passed before the denial/,
    ],
    [
      'another policy',
      [...RIGHT, ...denied('frontend', 'db', 'shop/other')],
      /denied by shop\/database-only-from-backend, shop\/other/,
    ],
    [
      'plaintext',
      [
        ...RIGHT,
        {
          direction: 'inbound',
          source: 'shop/waypoint',
          destination: 'shop/auth',
          bytesSent: 1,
          bytesReceived: 1,
          durationMs: 1,
        },
      ],
      /waypoint → auth: 1 connections came in plaintext/,
    ],
  ];
  it('takes it for right that auth is not always there', () => {
    assert.deepEqual(wrongWith([...RIGHT, ...fromWaypoint('auth', { error: 'refused' })]), []);
  });

  it('sees a pod that is never used', () => {
    const pods = ['shop/db', 'shop/db-2'];
    const book = new EdgeBook(group);
    book.setLive(live);
    const all = findWrong(book.edges(), [{ kind: 'allowed', from: 'backend', to: 'db', pods }]);
    assert.deepEqual(all, ['backend → db: shop/db-2 was never called']);
  });

  it('counts connections of a waypoint that live', () => {
    const book = new EdgeBook(group, (workload) => workload === 'shop/waypoint');
    book.setLive([row('outbound', 'frontend', 'waypoint'), row('inbound', 'waypoint', 'auth')]);
    assert.deepEqual(
      book.edges().map(({ from, to, live: open, mutualTls }) => [from, to, open, mutualTls]),
      [
        ['frontend', 'waypoint', 1, 1],
        ['waypoint', 'auth', 1, 1],
      ],
    );
  });

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

  it('counts what its own node cut, and names a setting where no policy refused', () => {
    const book = new EdgeBook(group);
    book.add(refused({ error: 'closed due to policy change: no rule allows it', bytesSent: 9 }));
    const { policy: _, ...setting } = refused({ flags: 'REGISTRY_ONLY' });
    book.add(setting);
    const [edge] = book.edges();
    assert.deepEqual([edge?.cut, edge?.denied, edge?.deniedBytes], [1, 1, 0]);
    assert.deepEqual([...(edge?.deniedBy ?? [])], [KIOSK_POLICY, 'REGISTRY_ONLY']);
  });

  it('tells a connection that a new policy ended from one that was denied', () => {
    const book = new EdgeBook(group);
    const error = 'closed due to policy change: allow policies exist, but none allowed';
    for (const line of denied('frontend', 'payments-1', 'shop/p', { error, bytesSent: 99 })) book.add(line);
    const [edge] = book.edges();
    assert.deepEqual([edge?.cut, edge?.denied], [1, 0]);
  });
});
