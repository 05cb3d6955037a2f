import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { LogBound } from '../../../../controller/telemetry/log-bound.ts';

describe('telemetry/log-bound', () => {
  it('lets ten of a second through, and says afterwards how many it left out', () => {
    let now = 0;
    const bound = new LogBound(() => now);
    const admitted = Array.from({ length: 25 }, () => bound.admit());
    assert.deepEqual(admitted.slice(0, 10), Array<object>(10).fill({}));
    assert.deepEqual(admitted.slice(10), Array<undefined>(15).fill(undefined));
    now = 1_001;
    assert.deepEqual(bound.admit(), { more: 15 });
    assert.deepEqual(bound.admit(), {});
  });
});
