import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { rolesOf, type ProxyState } from '../../../../agent/zds/takeover.ts';

const proxy = (changes: Partial<ProxyState>): ProxyState => ({
  ...{ takeover: true, live: true, ready: true, serving: false, leaving: false },
  ...changes,
});
const SERVING = proxy({ serving: true });
const STANDING_BY = proxy({});
const GETTING_READY = proxy({ ready: false });
const CONNECTING = proxy({ ready: false, live: false });

describe('ZDS: which proxy serves', () => {
  it('a lone one, once it has its pods, ready or not', () => {
    assert.deepEqual(rolesOf([CONNECTING]), ['stay']);
    assert.deepEqual(rolesOf([GETTING_READY]), ['serve']);
    assert.deepEqual(rolesOf([STANDING_BY]), ['serve']);
    assert.deepEqual(rolesOf([]), []);
  });

  it('the old one until a young one is ready, and until that one accepts', () => {
    assert.deepEqual(rolesOf([SERVING, CONNECTING]), ['serve', 'stay']);
    assert.deepEqual(rolesOf([SERVING, GETTING_READY]), ['serve', 'stay']);
    assert.deepEqual(rolesOf([SERVING, STANDING_BY]), ['stay', 'serve']);
    assert.deepEqual(rolesOf([SERVING, SERVING]), ['yield', 'serve']);
    assert.deepEqual(rolesOf([STANDING_BY, SERVING]), ['stay', 'serve']);
  });

  it('of two young ones the first that is ready, and then the youngest', () => {
    assert.deepEqual(rolesOf([SERVING, STANDING_BY, GETTING_READY]), ['stay', 'serve', 'stay']);
    assert.deepEqual(rolesOf([SERVING, SERVING, GETTING_READY]), ['yield', 'serve', 'stay']);
    assert.deepEqual(rolesOf([STANDING_BY, SERVING, STANDING_BY]), ['stay', 'stay', 'serve']);
    assert.deepEqual(rolesOf([STANDING_BY, SERVING, SERVING]), ['stay', 'yield', 'serve']);
  });

  it('the old one again, when the young one that took over is gone', () => {
    assert.deepEqual(rolesOf([STANDING_BY]), ['serve']);
    assert.deepEqual(rolesOf([STANDING_BY, GETTING_READY]), ['serve', 'stay']);
  });

  it('never one that ends; a young one that is not ready has to do then', () => {
    const leaving = proxy({ serving: true, leaving: true });
    assert.deepEqual(rolesOf([leaving]), ['stay']);
    assert.deepEqual(rolesOf([leaving, GETTING_READY]), ['stay', 'serve']);
    assert.deepEqual(rolesOf([leaving, SERVING]), ['yield', 'serve']);
    assert.deepEqual(rolesOf([STANDING_BY, leaving]), ['serve', 'stay']);
  });

  it('beside a proxy that knows nothing of all this, as Istio has it: the latest', () => {
    const plain = proxy({ takeover: false, ready: false, serving: true });
    assert.deepEqual(rolesOf([SERVING, plain]), ['yield', 'serve']);
    assert.deepEqual(rolesOf([plain, GETTING_READY]), ['serve', 'stay']);
    assert.deepEqual(rolesOf([plain, STANDING_BY]), ['stay', 'serve']);
  });
});
