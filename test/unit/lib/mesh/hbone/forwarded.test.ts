import assert from 'node:assert/strict';
import fc from 'fast-check';
import { describe, it } from 'mocha';
import {
  forwardedHeader,
  parseForwardedClient,
  parseForwardedFor,
} from '../../../../../lib/mesh/hbone/forwarded.ts';
import { hostPortText } from '../../../../../lib/mesh/hbone/host-port.ts';
import { spiffeUri } from '../../../../../lib/spiffe.ts';

const ID = 'spiffe://cluster.local/ns/shop/sa/frontend';
const IDENTITY = { trustDomain: 'cluster.local', namespace: 'shop', serviceAccount: 'frontend' };
const CLIENT = { ip: '198.18.0.1', port: 41000 };

const port = fc.integer({ min: 1, max: 65535 });
const unicast = fc
  .tuple(fc.integer({ min: 1, max: 223 }), fc.nat(255), fc.nat(255), fc.nat(255))
  .filter(([a, b]) => a !== 127 && !(a === 169 && b === 254))
  .map((bytes) => bytes.join('.'));
const unicast6 = fc
  .tuple(fc.integer({ min: 0x2000, max: 0xfdff }), fc.integer({ min: 1, max: 0xffff }))
  .map(([first, last]) => `${first.toString(16)}::${last.toString(16)}`);
const label = fc.stringMatching(/^[a-z0-9.-]{1,40}$/);
const identity = fc.record(
  { trustDomain: label, namespace: label, serviceAccount: label },
  { noNullPrototype: true },
);
/** Texts that look enough like the header to reach its parser's corners. */
const nearly = fc
  .array(
    fc.constantFrom(
      'for=',
      'identity=',
      'host=',
      '"',
      '\\',
      ';',
      ',',
      ' ',
      '\t',
      '1.2.3.4:5',
      '[::1]:80',
      '[2001:db8::1]:80',
      ID,
      'é',
      '\0',
      '=',
    ),
    { maxLength: 30 },
  )
  .map((parts) => parts.join(''));

describe('lib/mesh/hbone/forwarded', () => {
  it('reads what it writes', () => {
    fc.assert(
      fc.property(
        fc.oneof(unicast, unicast6),
        port,
        fc.option(label, { nil: undefined }),
        fc.option(identity, { nil: undefined }),
        (ip, at, host, who) => {
          const header = forwardedHeader({ ip, port: at }, host, who);
          assert.deepEqual(parseForwardedFor(header), { ip, port: at });
          assert.deepEqual(parseForwardedClient(header), {
            client: { ip, port: at },
            ...(who && { identity: who }),
          });
        },
      ),
    );
  });

  it('never throws, and finds only what the text holds', () => {
    fc.assert(
      fc.property(fc.oneof(fc.string({ unit: 'binary' }), nearly), (text) => {
        // An escape in a quoted string is the one way to write a thing in another form.
        const plain = text.replace(/\\(.)/g, '$1');
        const read = parseForwardedFor(text);
        assert.ok(read === undefined || plain.includes(hostPortText(read)));
        const told = parseForwardedClient(text);
        assert.ok(told === undefined || plain.includes(hostPortText(told.client)));
        assert.ok(told?.identity === undefined || plain.includes(spiffeUri(told.identity)));
      }),
      { numRuns: 1000 },
    );
    for (const odd of [undefined, null, 7, ['for=1.2.3.4:5'], {}]) {
      assert.equal(parseForwardedFor(odd), undefined);
      assert.equal(parseForwardedClient(odd), undefined);
    }
  });

  it('takes the first element only, and a refinement of it only', () => {
    for (const header of [
      'for=198.18.0.1:41000',
      'For="198.18.0.1:41000"',
      'host=x ; for="198.18.0.1:41000" ;proto=http',
      'for="198.18.0.1:41000", for="9.9.9.9:9"',
      'for="198.18.0.1\\:41000"',
    ]) {
      assert.deepEqual(parseForwardedFor(header), CLIENT, header);
    }
    for (const bad of [
      '',
      'for',
      'for=',
      'for=""',
      'for=unknown',
      'for=_hidden',
      'for="1.2.3.4"',
      'for="1.2.3.999:80"',
      'for="1.2.3.4:0"',
      'for="1.2.3.4:65536"',
      'for="1.2.3.4:5',
      'by=x, for="1.2.3.4:5"',
      'host="x;for=1.2.3.4:5;"',
      'for="1.2.3.4:5";for="9.9.9.9:9"',
      'for="1.2.3.4:5";;',
      'for="1.2.3.4:5"x',
      ';for="1.2.3.4:5"',
    ]) {
      assert.equal(parseForwardedFor(bad), undefined, bad);
    }
  });

  it('reads IPv6 in brackets, in its one form; IPv4-mapped is IPv4', () => {
    assert.equal(forwardedHeader({ ip: '2001:db8::1', port: 80 }), 'for="[2001:db8::1]:80"');
    for (const [text, ip] of [
      ['[2001:db8::1]:80', '2001:db8::1'],
      ['[2001:DB8:0::1]:80', '2001:db8::1'],
      ['[::ffff:198.18.0.1]:80', '198.18.0.1'],
    ] as const) {
      for (const header of [`for="${text}"`, `for=${text}`, `for="${text}";identity="${ID}"`]) {
        assert.deepEqual(parseForwardedFor(header), { ip, port: 80 });
        assert.deepEqual(parseForwardedClient(header)?.client, { ip, port: 80 });
      }
    }
    for (const bad of ['[2001:db8::1]', '2001:db8::1', '2001:db8::1:80', '::1', '[fe80::1%eth0]:1', '[::1']) {
      assert.equal(parseForwardedFor(`for="${bad}"`), undefined, bad);
      assert.equal(parseForwardedClient(`for="${bad}"`), undefined, bad);
    }
  });

  it('takes from a waypoint one well-formed client, or nothing', () => {
    assert.deepEqual(parseForwardedClient(`for="198.18.0.1:41000";host=a.b.svc;identity="${ID}"`), {
      client: CLIENT,
      identity: IDENTITY,
    });
    assert.deepEqual(parseForwardedClient('for="198.18.0.1:41000"'), { client: CLIENT });
    for (const bad of [
      `identity="${ID}"`,
      `for="198.18.0.1:41000", for="9.9.9.9:9"`,
      `for="198.18.0.1:41000";identity="${ID}";identity="${ID}"`,
      'for="198.18.0.1:41000";identity="frontend"',
      'for="198.18.0.1:41000";identity=""',
      'for="198.18.0.1:41000";identity="spiffe://a/ns/b/sa/c\\\r"',
      ...['127.0.0.1', '0.0.0.0', '0.1.2.3', '169.254.7.127', '224.0.0.1', '255.255.255.255'].map(
        (ip) => `for="${ip}:80"`,
      ),
      ...[
        '::',
        '::1',
        'fe80::1',
        'febf::1',
        'ff02::1',
        '::127.0.0.1',
        '::ffff:127.0.0.1',
        '::ffff:0.0.0.0',
      ].map((ip) => `for="[${ip}]:80"`),
      `for="198.18.0.1:41000";x="${'y'.repeat(1024)}"`,
    ]) {
      assert.equal(parseForwardedClient(bad), undefined, bad);
    }
  });

  it('reads a long hostile text in time that grows with its length only', () => {
    // A backtracking parser would not come back from these within any test's time limit.
    for (const text of ['for="' + '\\"'.repeat(509), 'a=b;'.repeat(256), `${'\t'.repeat(1000)}for`]) {
      assert.equal(parseForwardedClient(text), undefined);
    }
  });
});
