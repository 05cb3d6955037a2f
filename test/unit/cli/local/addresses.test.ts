import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { AddressPlan, clusterIpsOf, macOf, SLOTS } from '../../../../cli/local/addresses.ts';

describe('local mesh: addresses', () => {
  it('keeps meshes apart, and all within 198.18.0.0/15', () => {
    const ranges = Array.from({ length: SLOTS }, (_, slot) => new AddressPlan(slot).range);
    assert.equal(new Set(ranges).size, SLOTS);
    assert.equal(ranges[0], '198.18.0.0/19');
    assert.equal(ranges.at(-1), '198.19.224.0/19');
    assert.throws(() => new AddressPlan(SLOTS), /slot 16/);
  });

  it('gives each node a subnet of its own and says the same again', () => {
    const plan = new AddressPlan(1);
    const a = plan.node('a');
    assert.equal(a.podSubnet4, '198.18.33.0/24');
    assert.equal(a.gateway.ip4, '198.18.33.1');
    assert.equal(a.fabric.ip4, '198.18.32.10');
    assert.equal(plan.node('b').podSubnet4, '198.18.34.0/24');
    assert.deepEqual(plan.node('a'), a);
    assert.equal(plan.control.ip4, '198.18.32.2');
  });

  it('reuses an address as late as it can, and never one in use', () => {
    const plan = new AddressPlan(0);
    const first = plan.allocatePod('x/0', 'a').ip4;
    plan.allocatePod('x/1', 'a');
    plan.releasePod('x/0');
    const given = new Set<string>();
    for (let i = 2; i < 253; i++) given.add(plan.allocatePod(`x/${i}`, 'a').ip4);
    assert.equal(given.size, 251);
    assert.ok(!given.has(first), 'the released address comes last');
    assert.equal(plan.allocatePod('x/last', 'a').ip4, first);
    assert.throws(() => plan.allocatePod('x/more', 'a'), /253 pods already/);
    assert.equal(plan.allocatePod('x/other', 'b').ip4, '198.18.2.2', 'another node has its own');
  });

  it('gives the address that is wished for, where it is free and of the subnet', () => {
    const plan = new AddressPlan(0);
    assert.deepEqual(plan.allocatePod('x/a', 'a', '198.18.1.9'), {
      ip4: '198.18.1.9',
      ip6: 'fd4c:6f61:6d00:1::9',
    });
    assert.equal(plan.allocatePod('x/b', 'a', '198.18.1.9').ip4, '198.18.1.2');
    for (const wish of ['198.18.2.9', '198.18.1.1', '198.18.1.255', 'nonsense'])
      assert.match(plan.allocatePod(`x/${wish}`, 'a', wish).ip4, /^198\.18\.1\.[3-6]$/);
    plan.releasePod('x/a');
    assert.equal(plan.allocatePod('x/c', 'a', '198.18.1.9').ip4, '198.18.1.9');
  });

  it('gives an address the same place on the link, of either family', () => {
    const macs = new Set<string>();
    for (const slot of [0, 1, 15])
      for (const node of ['a', 'b']) {
        const plan = new AddressPlan(slot);
        plan.node('a');
        for (let i = 0; i < 253; i += 1) {
          const { ip4, ip6 } = plan.allocatePod(`x/${i}`, node);
          assert.equal(macOf(ip4), macOf(ip6));
          assert.match(macOf(ip4), /^02:4c(:[0-9a-f]{2}){4}$/);
          macs.add(macOf(ip4));
        }
      }
    assert.equal(macs.size, 3 * 2 * 253);
  });

  it('keeps the virtual address of a Service until it is gone', () => {
    const plan = new AddressPlan(0);
    assert.deepEqual(plan.vip('x/s'), { ip4: '198.18.24.1', ip6: 'fd4c:6f61:6d00:18::1' });
    assert.equal(plan.vip('x/t').ip4, '198.18.24.2');
    plan.keepVips(new Set(['x/t']));
    assert.equal(plan.vip('x/t').ip4, '198.18.24.2');
    assert.equal(plan.vip('x/s').ip4, '198.18.24.3', 'not given to another name at once');
  });

  it('gives a Service what its manifest does not give, in the order of its families', () => {
    const allotted = () => ({ ip4: '198.18.24.1', ip6: 'fd4c::1' });
    assert.deepEqual(clusterIpsOf(['IPv4'], [], allotted), ['198.18.24.1']);
    assert.deepEqual(clusterIpsOf(['IPv6', 'IPv4'], [], allotted), ['fd4c::1', '198.18.24.1']);
    assert.deepEqual(clusterIpsOf(['IPv6', 'IPv4'], ['fd99::9'], allotted), ['fd99::9', '198.18.24.1']);
    const never = () => assert.fail('nothing is to be allotted');
    assert.deepEqual(clusterIpsOf(['IPv4'], ['10.0.0.1'], never), ['10.0.0.1']);
  });

  it('gives IPv6 addresses of one prefix a slot', () => {
    const plan = new AddressPlan(3);
    assert.equal(plan.allocatePod('x/a', 'a').ip6, 'fd4c:6f61:6d03:1::2');
    assert.equal(plan.node('a').podSubnet6, 'fd4c:6f61:6d03:1::/64');
  });
});
