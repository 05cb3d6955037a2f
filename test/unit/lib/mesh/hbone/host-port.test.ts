import assert from 'node:assert/strict';
import fc from 'fast-check';
import { describe, it } from 'mocha';
import { hostPortText, parseHostPort } from '../../../../../lib/mesh/hbone/host-port.ts';
import { canonicalIp } from '../../../../../lib/mesh/state/ip.ts';

const port = fc.integer({ min: 1, max: 65535 });

describe('lib/mesh/hbone/host-port', () => {
  it('reads what it writes, in both families', () => {
    assert.equal(hostPortText({ ip: '198.18.1.2', port: 80 }), '198.18.1.2:80');
    assert.equal(hostPortText({ ip: 'fd00::2', port: 80 }), '[fd00::2]:80');
    fc.assert(
      fc.property(fc.oneof(fc.ipV4(), fc.ipV6()), port, (ip, at) => {
        const read = parseHostPort(hostPortText({ ip, port: at }));
        assert.deepEqual(read, { ip: canonicalIp(ip), port: at });
      }),
    );
  });

  it('gives an address one form, however it is written', () => {
    const text = (ip: string) => parseHostPort(`[${ip}]:80`)?.ip;
    assert.equal(text('FD00:0:0:0:0:0:0:2'), 'fd00::2');
    assert.equal(text('::ffff:198.18.1.2'), '198.18.1.2');
    assert.equal(text('::ffff:c612:102'), '198.18.1.2');
    assert.equal(text('::1'), '::1');
  });

  it('takes nothing else', () => {
    for (const bad of [
      ...[
        '',
        'name:80',
        '1.2.3.4',
        '1.2.3.4:0',
        '1.2.3.4:65536',
        '1.2.3.999:80',
        ' 1.2.3.4:80',
        '01.2.3.4:80',
      ],
      ...[
        '::1:80',
        '[::1]',
        '[::1]80',
        '[::1]:',
        '[::1]:0',
        '[::1]:65536',
        '[]:80',
        '[:]:80',
        '[1.2.3.4]:80',
      ],
      ...['[fe80::1%eth0]:80', '[fe80::1%251]:80', '[::1]]:80', '[[::1]:80', '[12345::]:80', '[::1::]:80'],
      ...[`[${':'.repeat(40)}]:80`, '[::1]:80\n', undefined, 7, null, ['1.2.3.4:80']],
    ]) {
      assert.equal(parseHostPort(bad), undefined, JSON.stringify(bad));
    }
  });
});
