import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { Backoff } from '../../../lib/backoff.ts';

describe('lib/backoff', () => {
  it('doubles up to its maximum and begins again after a success', () => {
    const backoff = new Backoff({ initialMs: 10, maxMs: 50, jitter: 0 });
    assert.deepEqual(
      [1, 2, 3, 4, 5].map(() => backoff.next()),
      [10, 20, 40, 50, 50],
    );
    backoff.reset();
    assert.equal(backoff.next(), 10);
  });

  it('spreads its waits by the jitter, never above the maximum', () => {
    const low = new Backoff({ initialMs: 100, maxMs: 100, jitter: 0.2 }, () => 0);
    const high = new Backoff({ initialMs: 100, maxMs: 100, jitter: 0.2 }, () => 1);
    assert.equal(low.next(), 80);
    assert.equal(high.next(), 100);
  });
});
