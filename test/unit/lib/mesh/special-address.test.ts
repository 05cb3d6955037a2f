import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { specialAddress } from '../../../../lib/mesh/special-address.ts';

describe('lib/mesh/special-address', () => {
  for (const [ip, what] of [
    ['127.0.0.1', /loopback/],
    ['127.255.255.254', /loopback/],
    ['::1', /loopback/],
    ['0:0:0:0:0:0:0:1', /loopback/],
    ['::ffff:127.0.0.1', /loopback/],
    ['::ffff:7f00:1', /loopback/],
    ['64:ff9b::127.0.0.1', /loopback/],
    ['0.0.0.0', /unspecified/],
    ['0.1.2.3', /unspecified/],
    ['::', /unspecified/],
    ['169.254.169.254', /link-local/],
    ['::ffff:169.254.169.254', /link-local/],
    ['64:ff9b::a9fe:a9fe', /link-local/],
    ['fe80::1', /link-local/],
    ['febf::1', /link-local/],
    ['fd00:ec2::254', /metadata/],
    ['100.100.100.200', /metadata/],
    ['168.63.129.16', /metadata/],
    ['224.0.0.1', /multicast/],
    ['ff02::1', /multicast/],
    ['255.255.255.255', /broadcast/],
    ['example.org', /no IP/],
    ['', /no IP/],
  ] as const) {
    it(`${ip || 'nothing'} is special`, () => assert.match(specialAddress(ip) ?? '', what));
  }

  it('private and public addresses are not', () => {
    for (const ip of [
      ...['10.0.0.1', '192.168.1.1', '172.16.0.1', '198.18.0.1', '100.64.0.1', '128.0.0.1', '169.253.1.1'],
      ...['fd00::1', '2001:db8::1', '::ffff:10.0.0.1', '64:ff9b::8.8.8.8', 'fec0::1', '223.255.255.255'],
    ])
      assert.equal(specialAddress(ip), undefined, ip);
  });
});
