import assert from 'node:assert/strict';
import { beforeEach, describe, it } from 'mocha';
import { MemoryReserve, type MemoryUse } from '../../../../../lib/mesh/hbone/memory-reserve.ts';

const LOOK_MS = 100;
const RECLAIM_MS = 10_000;

describe('what is kept back of memory', () => {
  let now: number;
  let heap: number;
  let rss: number;
  let garbage: number;
  let open: number;
  let reclaims: number;
  let changes: [boolean, MemoryUse['of']][];
  let reserve: MemoryReserve;

  beforeEach(() => {
    [now, heap, rss, garbage, open, reclaims, changes] = [0, 10, 10, 0, 1, 0, []];
    reserve = new MemoryReserve({
      limit: 0,
      open: () => open,
      onChange: (isTouched, tightest) => void changes.push([isTouched, tightest.of]),
      measure: () => [
        { of: 'heap', used: heap, limit: 100 },
        { of: 'process', used: rss + garbage, limit: 100 },
      ],
      reclaim: () => {
        reclaims += 1;
        garbage = 0;
      },
      now: () => now,
    });
  });

  const later = (ms = LOOK_MS): boolean => {
    now += ms;
    return reserve.isTouched;
  };

  it('is touched from a high mark on, until a low one, and told of at each change', () => {
    assert.equal(later(), false);
    heap = 84;
    assert.equal(later(), false);
    heap = 85;
    assert.equal(later(), true);
    heap = 82;
    assert.equal(later(), true);
    heap = 79;
    assert.equal(later(), false);
    assert.deepEqual(changes, [
      [true, 'heap'],
      [false, 'heap'],
    ]);
  });

  it('goes by whichever limit is nearest', () => {
    rss = 90;
    assert.equal(later(), true);
    assert.deepEqual(changes, [[true, 'process']]);
  });

  it('refuses nobody for garbage, and collects seldom', () => {
    garbage = 80;
    assert.equal(later(), false);
    assert.equal(reclaims, 1);
    garbage = 80;
    assert.equal(later(), true);
    assert.equal(reclaims, 1, 'to collect stops all connections');
    assert.equal(later(RECLAIM_MS), false);
    assert.equal(reclaims, 2);
  });

  it('refuses nobody while nothing is open that could end', () => {
    [heap, open] = [99, 0];
    assert.equal(later(), false);
    open = 1;
    assert.equal(later(), true);
  });

  it('looks at most ten times a second', () => {
    later();
    heap = 99;
    assert.equal(later(LOOK_MS - 1), false);
    assert.equal(later(1), true);
  });

  it('measures this very process, whose limits are not reached', () => {
    const real = new MemoryReserve({ limit: 0, open: () => 1, onChange: () => assert.fail('touched') });
    assert.equal(real.isTouched, false);
  });

  it('keeps to the limit that it is given', () => {
    const told: MemoryUse[] = [];
    const real = new MemoryReserve({
      limit: process.memoryUsage.rss() / 2,
      open: () => 1,
      onChange: (_isTouched, use) => void told.push(use),
      reclaim: () => undefined,
    });
    assert.equal(real.isTouched, true);
    assert.equal(told[0]?.of, 'process');
  });
});
