import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { canonicalIp, ipFamily, ipFromBytes, ipToBytes } from '../../../../lib/linux/ip.ts';

describe('addresses as the kernel parts keep them', () => {
  it('have one text, whatever their spelling', () => {
    for (const [ip, text] of [
      ['192.0.2.1', '192.0.2.1'],
      ['::ffff:192.0.2.1', '192.0.2.1'],
      ['::ffff:c000:201', '192.0.2.1'],
      ['FD00:0:0::01', 'fd00::1'],
      ['2001:db8:0:1:1:1:1:1', '2001:db8:0:1:1:1:1:1'],
      ['0:0:0:0:0:0:0:0', '::'],
    ] as const) {
      assert.equal(canonicalIp(ip), text, ip);
      assert.equal(ipFromBytes(Uint8Array.from(ipToBytes(text) ?? [])), text);
    }
  });

  it('are of the family in which they are dialled', () => {
    assert.deepEqual(['192.0.2.1', '::ffff:192.0.2.1', 'fd00::1', '::'].map(ipFamily), [4, 4, 6, 6]);
  });

  it('are nothing else', () => {
    for (const ip of [
      '',
      '1.2.3',
      '0x7f.1',
      '1.2.3.4.5',
      'fe80::1%eth0',
      'fd00::1::2',
      'localhost',
      '[::1]',
      '1.2.3.4\0x',
      '01.2.3.4',
    ]) {
      assert.deepEqual([canonicalIp(ip), ipFamily(ip), ipToBytes(ip)], [undefined, undefined, undefined], ip);
    }
  });
});
