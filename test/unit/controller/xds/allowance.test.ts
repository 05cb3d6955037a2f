import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { Allowances } from '../../../../controller/xds/allowance.ts';

const MIB = 1024 * 1024;

describe('controller/xds/allowance', () => {
  it('lets a client begin with 32 MiB, and each by itself', () => {
    const allowances = new Allowances(() => 0);
    for (let i = 0; i < 32; i += 1) assert.equal(allowances.take('a', MIB), 0);
    assert.ok(!allowances.isOverdrawn('a'));
    assert.equal(allowances.take('a', MIB), 1_000);
    assert.ok(allowances.isOverdrawn('a'));
    assert.equal(allowances.take('b', MIB), 0);
  });

  it('gives a mebibyte a second back, and never more than at first', () => {
    let now = 0;
    const allowances = new Allowances(() => now);
    allowances.take('a', 34 * MIB);
    now += 1_999;
    assert.ok(allowances.isOverdrawn('a'));
    now += 1;
    assert.ok(!allowances.isOverdrawn('a'));
    now += 3_600_000;
    assert.equal(allowances.take('a', 32 * MIB), 0);
    assert.ok(allowances.take('a', MIB) > 0);
  });

  it('counts a small request for a kibibyte', () => {
    const allowances = new Allowances(() => 0);
    for (let i = 0; i < 32 * 1_024; i += 1) assert.equal(allowances.take('a', 0), 0);
    assert.ok(allowances.take('a', 0) > 0);
  });
});
