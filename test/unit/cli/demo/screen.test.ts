import assert from 'node:assert/strict';
import { EventEmitter } from 'node:events';
import { describe, it } from 'mocha';
import { EdgeBook, type Edge } from '../../../../cli/demo/edges.ts';
import { momentLine, plainText, summaryText } from '../../../../cli/demo/plain.ts';
import { screen } from '../../../../cli/demo/screen.ts';
import { splits } from '../../../../cli/demo/splits.ts';
import { paintLine, Terminal } from '../../../../cli/demo/terminal.ts';
import { bytesText, clockText, durationText } from '../../../../cli/demo/text.ts';
import type { View } from '../../../../cli/demo/view.ts';
import { book, charge, denial, request, ROUTE } from './support/requests.ts';

function view(): View {
  const book = new EdgeBook((pod) => pod.split('/')[1] ?? pod);
  const base = { bytesSent: 1500, bytesReceived: 20, durationMs: 4 };
  const ends = { source: 'shop/a', destination: 'shop/b' };
  book.add({ direction: 'outbound', ...ends, ...base });
  book.add({
    ...{ direction: 'inbound', ...ends, ...base },
    sourceIdentity: 'spiffe://cluster.local/ns/shop/sa/a',
    destinationIdentity: 'spiffe://cluster.local/ns/shop/sa/b',
  });
  const none = {
    bytesSent: 0,
    bytesReceived: 0,
    durationMs: 1,
    flags: 'DENY',
    error: 'denied: no policy allows it',
    policy: 'shop/p',
  };
  book.add({ direction: 'inbound', source: 'shop/b', destination: 'shop/a', ...none });
  return {
    mesh: 'demo',
    elapsedMs: 61_000,
    manifests: '/tmp/copy',
    pods: [{ name: 'a', node: 'node-a', ip: '198.18.1.2', state: 'in the mesh', ready: true }],
    waypoints: [],
    edges: book.edges(),
    isHop: () => false,
    requests: [],
    deniedRequests: [],
    splits: [],
    requestRateOf: () => 0,
    rateOf: () => 2,
    idle: () => false,
    policyName: (policy) => policy,
    problems: [{ what: 'pod shop/x', why: 'is gone', blocksStart: true }],
    warnings: [{ what: 'policy q', why: 'selects no pod' }],
    events: [],
  };
}

describe('demo: the screen', () => {
  it('shows calls, identities, denials with their policy, problems and what to try', () => {
    const text = plainText(screen(view()));
    assert.match(text, /a → b +1 +2\.0 +0 +1\.5 kB +20 B +0 +4\.0 ms +mTLS {2}shop\/a ⇄ shop\/b/);
    assert.match(text, /b ✗ a +1 +0 B +shop\/p +no policy allows it\n/);
    assert.match(text, /! pod shop\/x: is gone/);
    assert.match(text, /~ policy q: selects no pod/);
    assert.match(text, /edit \/tmp\/copy\/routes\/payments\.yaml/);
    assert.ok(!text.includes('\x1b'));
    assert.ok(!summaryText(view()).includes('Try it'));
  });

  it('fits 80 columns and 24 rows: bytes go first, identities and paths stay whole', () => {
    const events = ['one', 'two', 'three', 'four'].map((text) => ({ at: '00:00:00', text }));
    const manifests = '/tmp/a-rather-long-folder/of-somebody/who-likes/long-names-for-folders';
    const lines = screen({ ...view(), manifests, events }, { columns: 60, rows: 24 });
    const text = plainText(lines);
    for (const line of text.split('\n')) assert.ok([...line].length <= 60, line);
    assert.match(text, /CALLS +conn +conn\/s +errors +time +proved by both ends/);
    assert.ok(!/ sent | received /.test(text));
    assert.match(text, /mTLS {2}shop\/a ⇄ shop\/b$/m);
    assert.ok(text.replaceAll(/\n {3}/g, '').includes(`${manifests}/routes/payments.yaml`), text);
    assert.ok(lines.length <= 24, text);
    assert.match(text, /four$/, 'the newest events have their place');
  });

  it('says how calls come by those of late, and nothing about an edge without any', () => {
    const proved = (...arrivals: ('tls' | 'plain' | 'denied')[]): string => {
      const book = new EdgeBook((pod) => pod.split('/')[1] ?? pod);
      const line = { source: 'shop/a', destination: 'shop/b', bytesSent: 1, bytesReceived: 1, durationMs: 1 };
      const ids = {
        sourceIdentity: 'spiffe://x/ns/shop/sa/a',
        destinationIdentity: 'spiffe://x/ns/shop/sa/b',
      };
      for (const arrival of arrivals) {
        book.add({ direction: 'outbound', ...line });
        const denial = arrival === 'denied' ? { flags: 'DENY', error: 'denied' } : {};
        book.add({ direction: 'inbound', ...line, ...(arrival === 'tls' ? ids : {}), ...denial });
      }
      const text = plainText(screen({ ...view(), edges: book.edges() }));
      return /a → b .*(?:ms|stays) {2,}(.*)/.exec(text)?.[1] ?? '';
    };
    assert.equal(proved('tls', 'plain', 'tls'), 'mTLS  shop/a ⇄ shop/b, 1 in plaintext');
    assert.equal(proved('tls', 'denied'), 'mTLS  shop/a ⇄ shop/b', 'a denied one is counted under DENIED');
    assert.equal(proved('tls', 'plain', 'plain'), 'plaintext (2)');
    const many = Array.from({ length: 10 }, () => 'plain' as const);
    assert.equal(proved('tls', 'tls', ...many), 'plaintext (10)', 'what was long ago does not count');
    assert.match(plainText(screen({ ...view(), idle: () => true })), /a → b .* idle$/m);
  });

  it('shows what became of requests, splits and who is denied what, within 100 columns', () => {
    const seen = book([
      ...Array.from({ length: 1200 }, () => charge('v1', 'payments-v1-1')),
      ...Array.from({ length: 100 }, () => charge('v2', 'payments-v2')),
      ...Array.from({ length: 33 }, () => charge('v2', 'payments-v2', { attempts: 2 })),
      request('frontend', 'auth', 'auth-fallback', { fallback: true, attempts: 2 }),
      request('frontend', 'auth', 'auth', { status: 503 }),
      ...Array.from({ length: 12 }, () =>
        denial('auth', 'payments', 'POST /charge', 'shop/payments-only-charges'),
      ),
    ]);
    const configured = new Map([
      [
        ROUTE,
        new Map([
          ['payments-v1', 0.9],
          ['payments-v2', 0.1],
        ]),
      ],
    ]);
    const of: View = {
      ...view(),
      waypoints: [{ name: 'waypoint', node: 'node-b', ready: true }],
      requests: seen.requests(),
      deniedRequests: seen.denied(),
      splits: splits(configured, seen.shares()),
      requestRateOf: () => 20,
    };
    const text = plainText(screen(of));
    assert.match(text, /node-b {2}◆ waypoint/);
    assert.match(
      text,
      /frontend → payments +1333 +20\.0 +33 +0 +0 +4\.0 ms +mTLS {2}shop\/frontend ⇄ shop\/payments\n/,
    );
    assert.match(text, /frontend → auth +2 +20\.0 +2 +1 +1 +4\.0 ms +mTLS/);
    assert.match(text, /payments → payments-v1 +90\.0 % +90\.0 % +1200 +0 +0\n/);
    assert.match(text, /payments → payments-v2 +10\.0 % +10\.0 % +133 +33 +0\n/);
    assert.match(text, /auth ✗ payments POST \/charge +12 +0 B +shop\/payments-only-charges/);
    const narrow = plainText(screen(of, { columns: 100, rows: 60 }));
    for (const line of narrow.split('\n')) assert.ok([...line].length <= 100, line);
    for (const head of [
      /REQUESTS .*app errors +fallback +client saw/,
      /SPLIT +configured +measured/,
      /mTLS {2}shop\/frontend ⇄ shop\/payments$/m,
    ])
      assert.match(narrow, head);
    assert.match(
      momentLine(of),
      /frontend→auth 2 \(1 failures hidden, 1 by fallback, 1 ERRORS\) {2}frontend→payments 1333 \(33 failures hidden\) {2}payments-v1 90\.0 % {2}payments-v2 10\.0 %/,
    );
    assert.match(momentLine(of), /auth✗payments POST \/charge 12 denied/);
  });

  it('shows the connections of a waypoint only where something is wrong with them', () => {
    const of = (edge: Partial<Edge>): string => {
      const edges = view().edges.map((each) => ({ ...each, ...edge }));
      return plainText(screen({ ...view(), edges, isHop: () => true }));
    };
    assert.ok(!of({}).includes('a → b'));
    assert.match(of({ plaintext: 2 }), /a → b/);
  });

  it('has one line for a pipe', () => {
    assert.equal(momentLine(view()), 'a→b 1 (1.5 kB)  b✗a 1 denied  ! pod shop/x: is gone');
  });

  it('cuts a line at the width and lets no name steer the terminal', () => {
    const line = [{ text: 'abcdef', style: 'plain' as const }];
    assert.equal(paintLine(line, 4, false), 'abc…');
    assert.equal(paintLine([{ text: 'a\x1b[2Jb', style: 'plain' }], 80, false), 'a?[2Jb');
  });

  it('paints only what changed, and anew after a resize', () => {
    const written: string[] = [];
    const out = Object.assign(new EventEmitter(), {
      ...{ columns: 20, rows: 2, write: (text: string) => written.push(text) },
    }) as unknown as NodeJS.WriteStream;
    const terminal = new Terminal(out, false);
    const lines = (...texts: string[]): { text: string; style: 'plain' }[][] =>
      texts.map((text) => [{ text, style: 'plain' }]);
    terminal.paint(() => lines('one', 'two', 'beyond the last row'));
    written.length = 0;
    terminal.paint(({ rows }) => lines('one', 'TWO', String(rows)));
    assert.deepEqual(written, ['\x1b[2;1HTWO\x1b[K']);
    written.length = 0;
    terminal.paint(({ rows }) => lines('one', 'TWO', String(rows)));
    assert.deepEqual(written, []);
    out.emit('resize');
    assert.match(written.join(''), /one.*TWO/s);
    terminal[Symbol.dispose]();
    assert.match(written.at(-1) ?? '', /\?25h.*\?1049l/s, 'gives the terminal back');
    assert.equal(out.listenerCount('resize'), 0);
  });

  it('writes numbers for people', () => {
    assert.deepEqual([0, 999, 1000, 123_456, 9_950_000].map(bytesText), [
      '0 B',
      '999 B',
      '1.0 kB',
      '123 kB',
      '9.9 MB',
    ]);
    assert.deepEqual([0.84, 12.3, 1500].map(durationText), ['0.8 ms', '12 ms', '1.5 s']);
    assert.equal(clockText(3_661_000), '61:01');
  });
});
