import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { canReach, endpointAddress, type AddressWish } from '../../../../../lib/mesh/state/address-family.ts';

const DUAL = { addresses: ['10.0.0.2', 'fd00::2'] };
const V4 = { addresses: ['10.0.0.2'] };
const V6 = { addresses: ['fd00::2'] };
const ANY: AddressWish = { families: 'automatic', source: undefined };

describe('lib/mesh/state/address-family', () => {
  it('prefers the address that was dialled, then its family, then the first', () => {
    assert.equal(endpointAddress(DUAL, { ...ANY, asked: 'fd00::2' }), 'fd00::2');
    assert.equal(endpointAddress(DUAL, { ...ANY, asked: 'fd99::9' }), 'fd00::2');
    assert.equal(endpointAddress(DUAL, { ...ANY, asked: '10.9.9.9' }), '10.0.0.2');
    assert.equal(endpointAddress(DUAL, ANY), '10.0.0.2');
    assert.equal(endpointAddress({ addresses: ['fd00::2', '10.0.0.2'] }, ANY), 'fd00::2');
    assert.equal(
      endpointAddress(V4, { ...ANY, asked: 'fd99::9' }),
      '10.0.0.2',
      'another family is better than none',
    );
    assert.equal(endpointAddress(V6, { ...ANY, asked: '10.9.9.9' }), 'fd00::2');
    assert.equal(endpointAddress({ addresses: [] }, ANY), undefined);
  });

  it("keeps to the service's families", () => {
    assert.equal(endpointAddress(DUAL, { ...ANY, families: 'ipv4', asked: 'fd99::9' }), '10.0.0.2');
    assert.equal(endpointAddress(DUAL, { ...ANY, families: 'ipv6' }), 'fd00::2');
    assert.equal(endpointAddress(DUAL, { ...ANY, families: 'dual', asked: 'fd99::9' }), 'fd00::2');
    assert.equal(endpointAddress(V6, { ...ANY, families: 'ipv4' }), undefined);
    assert.equal(endpointAddress(V4, { ...ANY, families: 'ipv6' }), undefined);
  });

  it('chooses none that the source cannot dial', () => {
    assert.equal(endpointAddress(DUAL, { ...ANY, source: V6 }), 'fd00::2');
    assert.equal(endpointAddress(DUAL, { ...ANY, source: V4, asked: 'fd99::9' }), '10.0.0.2');
    assert.equal(endpointAddress(V6, { ...ANY, source: V4 }), undefined);
    assert.equal(endpointAddress(DUAL, { families: 'ipv6', source: V4 }), undefined);
    assert.equal(canReach(V4, '10.1.1.1'), true);
    assert.equal(canReach(V4, 'fd00::1'), false);
    assert.equal(canReach({ addresses: [] }, 'fd00::1'), true);
  });
});
