import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import {
  givenClusterIps,
  readPodFamilies,
  serviceFamilies,
  type FamilySpec,
} from '../../../lib/ip-families.ts';

const selector = { app: 'a' };

describe('lib/ip-families', () => {
  const cases: readonly [what: string, spec: FamilySpec, families: string][] = [
    ['nothing', { selector }, 'IPv4'],
    ['SingleStack', { selector, ipFamilyPolicy: 'SingleStack' }, 'IPv4'],
    ['SingleStack of IPv6', { selector, ipFamilyPolicy: 'SingleStack', ipFamilies: ['IPv6'] }, 'IPv6'],
    ['one family', { selector, ipFamilies: ['IPv6'] }, 'IPv6'],
    ['PreferDualStack', { selector, ipFamilyPolicy: 'PreferDualStack' }, 'IPv4,IPv6'],
    ['RequireDualStack', { selector, ipFamilyPolicy: 'RequireDualStack' }, 'IPv4,IPv6'],
    ['its own order', { selector, ipFamilyPolicy: 'PreferDualStack', ipFamilies: ['IPv6'] }, 'IPv6,IPv4'],
    ['two families', { selector, ipFamilies: ['IPv6', 'IPv4'] }, 'IPv6,IPv4'],
    ['an address', { selector, clusterIP: 'fd00::1' }, 'IPv6'],
    [
      'an address and a policy',
      { selector, clusterIP: 'fd00::1', ipFamilyPolicy: 'PreferDualStack' },
      'IPv6,IPv4',
    ],
    ['two addresses', { selector, clusterIP: '10.0.0.1', clusterIPs: ['10.0.0.1', 'fd00::1'] }, 'IPv4,IPv6'],
    ['no address', { selector, clusterIP: 'None' }, 'IPv4'],
    [
      'no address, and both',
      { selector, clusterIP: 'None', ipFamilyPolicy: 'RequireDualStack' },
      'IPv4,IPv6',
    ],
    ['no address and no selector', { clusterIP: 'None' }, 'IPv4,IPv6'],
    ['no address, no selector, one stack', { clusterIP: 'None', ipFamilyPolicy: 'SingleStack' }, 'IPv4'],
    ['an address that is empty', { clusterIP: '' }, 'IPv4'],
  ];
  for (const [what, spec, families] of cases)
    it(`a Service that says ${what} has ${families}`, () =>
      assert.equal(serviceFamilies(spec).join(), families));

  it('reads the addresses that a Service gives itself', () => {
    assert.deepEqual(givenClusterIps({}), []);
    assert.deepEqual(givenClusterIps({ clusterIP: 'None' }), []);
    assert.deepEqual(givenClusterIps({ clusterIP: '10.0.0.1' }), ['10.0.0.1']);
    assert.deepEqual(givenClusterIps({ clusterIPs: ['10.0.0.1', 'fd00::1'] }), ['10.0.0.1', 'fd00::1']);
  });

  it("reads a pod's families", () => {
    assert.deepEqual(readPodFamilies(undefined), ['IPv4', 'IPv6']);
    assert.deepEqual(readPodFamilies('IPv6'), ['IPv6']);
    assert.deepEqual(readPodFamilies('IPv6,IPv4'), ['IPv6', 'IPv4']);
    for (const bad of ['', 'ipv6', 'IPv4,IPv4', 'IPv4 , IPv6', 'constructor'])
      assert.equal(readPodFamilies(bad), undefined, bad);
  });
});
