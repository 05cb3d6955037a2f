import assert from 'node:assert/strict';
import { create } from '@bufbuild/protobuf';
import { describe, it } from 'mocha';
import { BackendSchema, type Backend } from '../../../../../../proto/gen/loam/waypoint/v1/waypoint_pb.js';
import { GOLDEN_STEP, otherStep, Phase } from '../../../../../../lib/mesh/waypoint/routing/weights/phase.ts';
import { WeightedChoice } from '../../../../../../lib/mesh/waypoint/routing/weights/weighted-choice.ts';

function backends(weights: Record<string, number>, invalid: Record<string, string> = {}): Backend[] {
  return Object.entries(weights).map(([service, weight]) =>
    create(BackendSchema, { service, port: 80, weight, invalid: invalid[service] ?? '' }),
  );
}

/** How often each backend is chosen, in a hundredth of all. */
function shares(choice: WeightedChoice, n: number): Record<string, number> {
  const counts: Record<string, number> = {};
  for (let i = 0; i < n; i += 1) {
    const chosen = choice.choose();
    const name = chosen.kind === 'none' ? 'none' : chosen.backend.service;
    counts[name] = (counts[name] ?? 0) + 1;
  }
  return Object.fromEntries(Object.entries(counts).map(([name, count]) => [name, (100 * count) / n]));
}

describe('the choice of a backend', () => {
  it('is exact to a few requests, wherever its sequence begins', () => {
    for (let start = 0; start < 1; start += 0.013) {
      const choice = new WeightedChoice(backends({ v1: 90, v2: 10 }), new Phase(GOLDEN_STEP, start));
      for (const n of [100, 1000, 20_000]) {
        const { v2 = 0 } = shares(choice, n);
        assert.ok(Math.abs(v2 - 10) * n <= 100 * 4, `${v2} % of ${n}, from ${start}`);
      }
    }
  });

  it('follows any weights', () => {
    const measured = shares(new WeightedChoice(backends({ a: 1, b: 2, c: 3, d: 994 }), new Phase()), 20_000);
    for (const [name, share] of Object.entries({ a: 0.1, b: 0.2, c: 0.3, d: 99.4 })) {
      assert.ok(Math.abs((measured[name] ?? 0) - share) < 0.05, `${name}: ${measured[name]}`);
    }
  });

  it('gives requests that come in a rhythm their shares too', () => {
    for (const rhythm of [2, 3, 5, 8, 10, 13, 100]) {
      const choice = new WeightedChoice(backends({ v1: 90, v2: 10 }), new Phase());
      let v2 = 0;
      for (let i = 0; i < 2000 * rhythm; i += 1) {
        const chosen = choice.choose();
        if (i % rhythm === 0 && chosen.kind === 'backend' && chosen.backend.service === 'v2') v2 += 1;
      }
      assert.ok(Math.abs(v2 - 200) <= 40, `${v2} of 2000 at every ${rhythm}th`);
    }
  });

  it('never falls on a weight of zero', () => {
    assert.deepEqual(shares(new WeightedChoice(backends({ a: 0, b: 1, c: 0 }), new Phase()), 100), {
      b: 100,
    });
  });

  it('is none without a weight', () => {
    for (const list of [[], backends({ a: 0 }), backends({ a: 0, b: 0 })]) {
      assert.deepEqual(new WeightedChoice(list, new Phase()).choose(), { kind: 'none' });
    }
  });

  it('leaves a backend that cannot be used its share', () => {
    const choice = new WeightedChoice(backends({ a: 1, b: 1 }, { b: 'no such Service' }), new Phase());
    const kinds = Array.from({ length: 1000 }, () => choice.choose());
    const invalid = kinds.filter((one) => one.kind === 'invalid');
    assert.ok(Math.abs(invalid.length - 500) < 5);
    assert.equal(invalid[0]?.reason, 'no such Service');
  });

  it('stays with a session, as long as the rule sends there', () => {
    const list = backends({ a: 1, b: 999, gone: 0, bad: 1 }, { bad: 'no such Service' });
    const choice = new WeightedChoice(list, new Phase());
    for (let i = 0; i < 100; i += 1) {
      const chosen = choice.choose('a');
      assert.ok(chosen.kind === 'backend' && chosen.backend.service === 'a');
      for (const preferred of ['gone', 'unknown']) {
        const other = choice.choose(preferred);
        assert.ok(other.kind !== 'none' && other.backend.service !== preferred);
      }
    }
    const counts = shares(choice, 1000);
    assert.ok((counts['b'] ?? 0) > 99, 'sessions that stay take no place in the sequence');
  });

  it('is independent of what else is drawn for the request', () => {
    const choice = new WeightedChoice(backends({ v1: 90, v2: 10 }), new Phase());
    for (let n = 0; n < 8; n += 1) {
      const mirror = new Phase(otherStep(n));
      let both = 0;
      for (let i = 0; i < 20_000; i += 1) {
        const chosen = choice.choose();
        const v2 = chosen.kind === 'backend' && chosen.backend.service === 'v2';
        if (mirror.next() < 0.1 && v2) both += 1;
      }
      assert.ok(Math.abs(both - 200) < 60, `${both} of 20000 are of v2 and mirrored, by step ${n}`);
    }
  });
});
