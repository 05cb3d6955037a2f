import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { atOnce, inSteps, type Steps } from '../../../../controller/sources/in-steps.ts';

function* counting(to: number, seen: number[]): Steps<string> {
  for (let n = 0; n < to; n += 1) {
    seen.push(n);
    yield;
  }
  return 'done';
}

describe('sources/in-steps', () => {
  it('comes to the same at once and in steps', async () => {
    assert.equal(atOnce(counting(3, [])), await inSteps(counting(3, []), () => true));
  });

  it('lets others have a turn after each step', async () => {
    const seen: number[] = [];
    setImmediate(() => seen.push(-1));
    await inSteps(counting(3, seen), () => true);
    assert(seen.includes(-1));
    assert.notEqual(seen.at(-1), -1);
  });

  it('leaves the rest when it is not wanted any more', async () => {
    const seen: number[] = [];
    assert.equal(await inSteps(counting(9, seen), () => seen.length < 2), undefined);
    assert.deepEqual(seen, [0, 1]);
  });
});
