import assert from 'node:assert/strict';
import { afterEach, describe, it } from 'mocha';
import { systemClock } from '../../../agent/clock.ts';

describe('the clock of the agent', () => {
  const dateNow = Date.now;
  afterEach(() => {
    Date.now = dateNow;
  });

  it('goes on when the time of the machine is set back', () => {
    const before = systemClock.now();
    assert.ok(Math.abs(before - Date.now()) < 3_600_000, 'it counts from the epoch');
    Date.now = () => dateNow() - 3_600_000;
    assert.ok(systemClock.now() >= before);
  });
});
