import assert from 'node:assert/strict';
import fc from 'fast-check';
import { describe, it } from 'mocha';
import { Shares } from '../../../../../lib/mesh/hbone/shares.ts';

describe('lib/mesh/hbone/shares', () => {
  /** Everyone takes in turns until nobody gets any more. */
  function fill(limit: number, holders: readonly string[]): Map<string, number> {
    const shares = new Shares();
    let free = limit;
    for (let gave = true; gave;) {
      gave = false;
      for (const holder of holders) if (shares.take(holder, free)) [free, gave] = [free - 1, true];
    }
    return new Map(holders.map((holder) => [holder, shares.of(holder)]));
  }

  it('gives one holder four fifths of all, and two of them four ninths each', () => {
    assert.deepEqual([...fill(1_000, ['a']).values()], [800]);
    assert.deepEqual([...fill(900, ['a', 'b']).values()], [400, 400]);
  });

  it('has a place for one more, however many have taken all that they could get', () => {
    fc.assert(
      fc.property(fc.integer({ min: 10, max: 500 }), fc.integer({ min: 1, max: 20 }), (limit, hogs) => {
        const taken = [
          ...fill(
            limit * hogs,
            Array.from({ length: hogs }, (_, i) => String(i)),
          ).values(),
        ];
        const free = limit * hogs - taken.reduce((a, b) => a + b, 0);
        assert.ok(new Shares().take('newcomer', free), `${free} free`);
      }),
    );
  });

  it('gives what was given back to whoever asks, and forgets who has nothing', () => {
    const shares = new Shares();
    for (let i = 0; i < 4; i += 1) assert.ok(shares.take('a', 1));
    assert.ok(!shares.take('a', 1));
    shares.release('a');
    assert.ok(shares.take('a', 1));
    for (let i = 0; i < 4; i += 1) shares.release('a');
    assert.equal(shares.of('a'), 0);
    assert.ok(!shares.take('a', 0), 'nothing is free');
  });
});
