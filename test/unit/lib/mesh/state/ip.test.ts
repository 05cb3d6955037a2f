import assert from 'node:assert/strict';
import fc from 'fast-check';
import { describe, it } from 'mocha';
import {
  canonicalIp,
  cidrContains,
  cidrFromBytes,
  ipFromBytes,
  ipScope,
  ipToBytes,
  prefixKey,
} from '../../../../../lib/mesh/state/ip.ts';

const bytes = fc.oneof(
  fc.uint8Array({ minLength: 4, maxLength: 4 }),
  fc.uint8Array({ minLength: 16, maxLength: 16 }),
);
const mapped = (...v4: number[]) => Uint8Array.of(...Array.from({ length: 10 }, () => 0), 0xff, 0xff, ...v4);

/** The bits of an address as text: a second way to say what a prefix is. */
function bits(address: readonly number[]): string {
  return address.map((b) => b.toString(2).padStart(8, '0')).join('');
}

describe('ip addresses', () => {
  it('have one form each', () => {
    assert.equal(canonicalIp('10.0.0.1'), '10.0.0.1');
    assert.equal(canonicalIp('::ffff:10.0.0.1'), '10.0.0.1');
    assert.equal(canonicalIp('::FFFF:0a00:0001'), '10.0.0.1');
    assert.equal(canonicalIp('2001:DB8:0:0:0:0:0:1'), '2001:db8::1');
    assert.equal(canonicalIp('fe80::1%eth0'), 'fe80::1');
    assert.equal(canonicalIp('::10.0.0.1'), '::a00:1', 'IPv4-compatible is not IPv4-mapped');
    for (const bad of ['', '10.0.0', '10.0.0.256', '010.0.0.1', 'x', '10.0.0.1/8', '1']) {
      assert.equal(canonicalIp(bad), undefined, bad);
    }
    assert.equal(ipFromBytes(mapped(10, 0, 0, 1)), '10.0.0.1');
    assert.equal(ipFromBytes(Uint8Array.of(1, 2, 3)), undefined);
  });

  it('reach as far as their range says', () => {
    for (const [scope, ...ips] of [
      ['unspecified', '0.0.0.0', '0.1.2.3', '::', '::ffff:0.0.0.0'],
      ['loopback', '127.0.0.1', '127.255.0.1', '::1', '::ffff:127.0.0.1'],
      ['link-local', '169.254.169.254', 'fe80::1', 'febf:ffff::1', 'fe80::1%eth0', '::ffff:169.254.0.1'],
      ['multicast', '224.0.0.1', '239.1.1.1', 'ff02::1', 'ffff::1', '::ffff:224.0.0.1'],
      ['reserved', '240.0.0.1', '255.255.255.255', '::2', '::127.0.0.1', '::a00:1'],
      ['global', '198.18.0.1', '10.0.0.1', '2001:db8::1', 'fd00::1', 'fec0::1', '64:ff9b::a00:1', '1::'],
    ] as const)
      for (const ip of ips) assert.equal(ipScope(ip), scope, ip);
    assert.equal(ipScope('host'), undefined);
  });

  it('survive being written and read', () => {
    fc.assert(
      fc.property(bytes, (raw) => {
        const text = ipFromBytes(raw);
        assert.ok(text !== undefined);
        assert.equal(canonicalIp(text), text);
        assert.equal(ipFromBytes(Uint8Array.from(ipToBytes(text) ?? [])), text);
      }),
    );
  });

  it('are in a range exactly when their leading bits agree', () => {
    fc.assert(
      fc.property(bytes, bytes, fc.nat(128), fc.boolean(), (network, other, n, near) => {
        const length = n % (network.length * 8 + 1);
        // Purely random addresses would never share a long prefix.
        const address = near ? network.with(n % network.length, (other[0] ?? 0) ^ (network[0] ?? 0)) : other;
        const range = cidrFromBytes(network, length);
        const read = ipToBytes(ipFromBytes(address) ?? '');
        assert.ok(range && read);
        const [a, b] = [bits(range.bytes), bits(read)];
        const expected = a.length === b.length && a.slice(0, range.length) === b.slice(0, range.length);
        assert.equal(cidrContains(range, read), expected);
        if (a.length === b.length) {
          assert.equal(prefixKey(range.bytes, range.length) === prefixKey(read, range.length), expected);
        }
      }),
    );
  });

  it('of IPv4 are in IPv4-mapped ranges, and in no other IPv6 range', () => {
    const v4 = ipToBytes('10.1.2.3') ?? [];
    const wide = cidrFromBytes(mapped(10, 0, 0, 0), 104);
    assert.deepEqual(wide, { bytes: [10, 0, 0, 0], length: 8 });
    assert.ok(cidrContains(wide, v4));
    const all = cidrFromBytes(new Uint8Array(16), 0);
    assert.ok(all && !cidrContains(all, v4));
    assert.ok(cidrContains(all, ipToBytes('2001:db8::1') ?? []));
  });

  it('make no range with a length that is too long', () => {
    assert.equal(cidrFromBytes(Uint8Array.of(1, 2, 3, 4), 33), undefined);
    assert.equal(cidrFromBytes(new Uint8Array(16), 129), undefined);
    assert.equal(cidrFromBytes(new Uint8Array(5), 1), undefined);
  });
});
