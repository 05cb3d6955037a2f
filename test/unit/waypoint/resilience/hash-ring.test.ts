import assert from 'node:assert/strict';
import fc from 'fast-check';
import { describe, it } from 'mocha';
import { HashRing } from '../../../../waypoint/resilience/hash-ring.ts';
import { tally } from './tools.ts';

const KEYS = Array.from({ length: 2_000 }, (_, i) => `key-${i}`);

function members(count: number, weight = 1) {
  return Array.from({ length: count }, (_, i) => ({ key: `8080|pod-${i}`, weight }));
}

function owners(ring: HashRing<{ key: string; weight: number }>, usable = (_: { key: string }) => true) {
  return KEYS.map((key) => ring.find(key, usable)?.key);
}

describe('waypoint/resilience/hash-ring', () => {
  it('spreads keys evenly, and by weight', () => {
    for (const count of tally(owners(new HashRing(members(10)))).values()) {
      assert.ok(count > 130 && count < 280, `${count} of 2000 keys at one of ten`);
    }
    const heavy = [...members(4), { key: 'heavy', weight: 4 }];
    const share = (tally(owners(new HashRing(heavy))).get('heavy') ?? 0) / KEYS.length;
    assert.ok(share > 0.42 && share < 0.58, `${share} for half of the weight`);
  });

  it('does not depend on the order of its members', () => {
    assert.deepEqual(owners(new HashRing(members(20))), owners(new HashRing(members(20).reverse())));
  });

  it('moves no key but those of a member that left, whichever it is', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 2, max: 40 }),
        fc.nat(39),
        fc.integer({ min: 1, max: 9 }),
        (count, at, weight) => {
          const all = members(count, weight);
          const gone = all[at % count]?.key;
          const before = owners(new HashRing(all));
          const after = owners(new HashRing(all.filter((m) => m.key !== gone)));
          before.forEach((owner, i) => {
            if (owner !== gone) assert.equal(after[i], owner);
          });
        },
      ),
      { numRuns: 30 },
    );
  });

  it('walks past a member that may not be used just as if it had left', () => {
    fc.assert(
      fc.property(fc.integer({ min: 2, max: 20 }), fc.nat(19), (count, at) => {
        const all = members(count);
        const out = all[at % count]?.key;
        assert.deepEqual(
          owners(new HashRing(all), (m) => m.key !== out),
          owners(new HashRing(all.filter((m) => m.key !== out))),
        );
      }),
      { numRuns: 30 },
    );
  });

  it('finds nothing in an empty ring or where nothing may be used', () => {
    assert.equal(
      new HashRing([]).find('a', () => true),
      undefined,
    );
    assert.equal(
      new HashRing(members(50)).find('a', () => false),
      undefined,
    );
  });
});
