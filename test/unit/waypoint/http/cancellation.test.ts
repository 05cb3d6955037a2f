import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { Cancellation } from '../../../../waypoint/http/cancellation.ts';

describe('waypoint/http/cancellation', () => {
  it('tells each listener once, but for one that was taken back', () => {
    const cancellation = new Cancellation();
    const told: string[] = [];
    const off = (): void => void told.push('off');
    cancellation.onCancel(() => told.push('a'));
    cancellation.onCancel(off);
    cancellation.onCancel(() => told.push('b'));
    cancellation.off(off);
    assert.equal(cancellation.cancelled, false);
    cancellation.cancel();
    cancellation.cancel();
    assert.equal(cancellation.cancelled, true);
    assert.deepEqual(told, ['a', 'b']);
  });

  it('gives a signal of the same state, whenever it is asked for', () => {
    const before = new Cancellation();
    const { signal } = before;
    assert.equal(signal.aborted, false);
    before.cancel();
    assert.equal(signal.aborted, true);
    const after = new Cancellation();
    after.cancel();
    assert.equal(after.signal.aborted, true);
    assert.equal(after.signal, after.signal);
  });
});
