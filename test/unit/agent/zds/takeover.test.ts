import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { rolesOf, type ProxyState } from '../../../../agent/zds/takeover.ts';

const proxy = (changes: Partial<ProxyState>): ProxyState => ({
  ...{ takeover: true, live: true, ready: true, serving: false, leaving: false, pods: new Map() },
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

  it('the old one as long as it serves a pod that the young one cannot; not for a pod that neither can', () => {
    const pods = (...served: boolean[]): ReadonlyMap<string, boolean> =>
      new Map(served.map((is, i) => [`uid-${i}`, is]));
    const old = proxy({ serving: true, pods: pods(true, true) });
    const young = proxy({ pods: pods(true, false) });
    assert.deepEqual(rolesOf([old, young]), ['serve', 'stay']);
    assert.deepEqual(rolesOf([proxy({ serving: true, pods: pods(true, false) }), young]), ['stay', 'serve']);
    assert.deepEqual(rolesOf([{ ...old, leaving: true }, young]), ['stay', 'serve']);
    assert.deepEqual(
      rolesOf([old, { ...young, serving: true }]),
      ['yield', 'serve'],
      'no going back and forth',
    );
    assert.deepEqual(rolesOf([young]), ['serve']);
  });

  it('beside a proxy that knows nothing of all this, as Istio has it: the latest', () => {
    const plain = proxy({ takeover: false, ready: false, serving: true });
    assert.deepEqual(rolesOf([SERVING, plain]), ['yield', 'serve']);
    assert.deepEqual(rolesOf([plain, GETTING_READY]), ['serve', 'stay']);
    assert.deepEqual(rolesOf([plain, STANDING_BY]), ['stay', 'serve']);
  });
});
