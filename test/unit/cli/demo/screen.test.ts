import assert from 'node:assert/strict';
import { EventEmitter } from 'node:events';
import { describe, it } from 'mocha';
import { EdgeBook } from '../../../../cli/demo/edges.ts';
import { momentLine, plainText, summaryText } from '../../../../cli/demo/plain.ts';
import { screen } from '../../../../cli/demo/screen.ts';
import { paintLine, Terminal } from '../../../../cli/demo/terminal.ts';
import { bytesText, clockText, durationText } from '../../../../cli/demo/text.ts';
import type { View } from '../../../../cli/demo/view.ts';

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
    edges: book.edges(),
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
    assert.match(text, /edit \/tmp\/copy\/policies\/payments\.yaml/);
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
    assert.ok(text.replaceAll(/\n {3}/g, '').includes(`${manifests}/policies/payments.yaml`), text);
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
