import assert from 'node:assert/strict';
import fc from 'fast-check';
import { describe, it } from 'mocha';
import { RetryBudget } from '../../../../waypoint/resilience/retry-budget.ts';
import { FakeClock } from './tools.ts';

function granted(budget: RetryBudget, asked: number): number {
  return Array.from({ length: asked }, () => budget.tryRetry()).filter(Boolean).length;
}

function requests(budget: RetryBudget, count: number): void {
  for (let i = 0; i < count; i++) budget.onRequest();
}

describe('waypoint/resilience/retry-budget', () => {
  it('retries.budget.percent: of the requests within the window', () => {
    const budget = new RetryBudget({ percent: 20, window: 10_000, minPerSecond: 0 }, new FakeClock().now);
    assert.equal(granted(budget, 5), 0);
    requests(budget, 100);
    assert.equal(granted(budget, 50), 20);
  });

  it('retries.budget.window: slides, and what is older does not count', () => {
    const clock = new FakeClock();
    const budget = new RetryBudget({ percent: 50, window: 10_000, minPerSecond: 0 }, clock.now);
    requests(budget, 10);
    assert.equal(granted(budget, 10), 5);
    clock.advance(5_000);
    requests(budget, 10);
    assert.equal(granted(budget, 10), 5);
    clock.advance(5_000);
    // The first half has left the window, requests and retries alike.
    assert.equal(granted(budget, 10), 0);
    requests(budget, 2);
    assert.equal(granted(budget, 10), 1);
    clock.advance(60_000);
    assert.equal(granted(budget, 10), 0);
  });

  it('retries.budget.minPerSecond: so many over the window, however few requests there are', () => {
    const clock = new FakeClock();
    const budget = new RetryBudget({ percent: 0, window: 10_000, minPerSecond: 2 }, clock.now);
    assert.equal(granted(budget, 100), 20);
    clock.advance(10_000);
    assert.equal(granted(budget, 100), 20);
  });

  it('without settings the documented default holds, and an edit keeps what was counted', () => {
    const budget = new RetryBudget(undefined, new FakeClock().now);
    assert.equal(granted(budget, 1_000), 100);
    requests(budget, 1_000);
    assert.equal(granted(budget, 1_000), 100);
    budget.configure({ percent: 100, window: 10_000, minPerSecond: 0 });
    assert.equal(granted(budget, 1_000), 800);
  });

  it('never grants more than its share within a window', () => {
    const step = fc.tuple(fc.constantFrom('request', 'retry'), fc.nat(700));
    fc.assert(
      fc.property(fc.array(step, { maxLength: 200 }), fc.integer({ min: 0, max: 100 }), (steps, percent) => {
        const clock = new FakeClock();
        const budget = new RetryBudget({ percent, window: 5_000, minPerSecond: 0 }, clock.now);
        let sent = 0;
        let retried = 0;
        for (const [what, ms] of steps) {
          clock.advance(ms);
          if (what === 'request') {
            budget.onRequest();
            sent++;
          } else if (budget.tryRetry()) retried++;
        }
        // Over all time it may only be less than the share of all requests.
        assert.ok(retried <= (sent * percent) / 100 + 1e-9);
      }),
    );
  });
});
