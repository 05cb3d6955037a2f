import assert from 'node:assert/strict';
import fc from 'fast-check';
import { describe, it } from 'mocha';
import { withChanges } from '../../../../controller/sources/kubernetes/merge.ts';

describe('sources/kubernetes/merge', () => {
  it('is as sorted as if it were sorted anew, and leaves what it was made from alone', () => {
    const key = fc.string({ unit: fc.constantFrom('a', 'b', '/', 'é'), maxLength: 3 });
    fc.assert(
      fc.property(
        fc.array(fc.tuple(key, fc.nat(9))),
        fc.array(fc.tuple(key, fc.option(fc.nat(9), { nil: undefined }))),
        (before, changed) => {
          const byKey = ([a]: [string, unknown], [b]: [string, unknown]): number => (a < b ? -1 : 1);
          const sorted = new Map([...new Map(before)].sort(byKey));
          const changes = new Map(changed);
          const wanted = new Map<string, number | undefined>([...sorted, ...changes]);
          const expected = [...wanted].filter(([, value]) => value !== undefined).sort(byKey);
          const copy = [...sorted];
          assert.deepEqual([...withChanges(sorted, changes)], expected);
          assert.deepEqual([...sorted], copy);
        },
      ),
    );
  });
});
