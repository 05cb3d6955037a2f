import assert from 'node:assert/strict';
import fc from 'fast-check';
import { describe, it } from 'mocha';
import { firstValues } from '../../../../waypoint/routing/table/query.ts';

describe('parameters of a query', () => {
  it('are those of a form, the first of each name', () => {
    const piece = fc.constantFrom(
      'a',
      'b',
      '=',
      '&',
      '+',
      '%61',
      '%',
      '%2',
      '%26',
      '%3d',
      '%c3%a9',
      '%ff',
      '?',
      ' ',
    );
    const query = fc.array(piece, { maxLength: 16 }).map((pieces) => pieces.join(''));
    const wanted = fc.uniqueArray(fc.constantFrom('a', 'b', 'aa', '', 'a b', '\u00e9'));
    fc.assert(
      fc.property(query, wanted, (text, names) => {
        // An empty pair first keeps the standard's parser from taking a leading "?" away.
        const standard = new URLSearchParams(`&${text}`);
        const found = firstValues(text, new Set(names));
        for (const name of names) assert.equal(found.get(name) ?? null, standard.get(name));
        assert.ok([...found.keys()].every((name) => new Set<string>(names).has(name)));
      }),
      { numRuns: 5000 },
    );
  });
});
