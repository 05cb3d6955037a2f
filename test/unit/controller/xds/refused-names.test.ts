import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { refusedNames } from '../../../../controller/xds/refused-names.ts';

describe('xds/refused-names', () => {
  const names = ['route/HTTPRoute/shop/a', 'route/HTTPRoute/shop/ab', 'settings'];
  const cases: [string, readonly string[]][] = [
    ['"route/HTTPRoute/shop/ab": rules[0] is odd', ['route/HTTPRoute/shop/ab']],
    ['route/HTTPRoute/shop/a: x; settings: y', ['route/HTTPRoute/shop/a', 'settings']],
    ['route/HTTPRoute/shop/ab, and route/HTTPRoute/shop/a too', names.slice(0, 2)],
    ['it does not say', names],
    ['', names],
  ];
  for (const [text, expected] of cases)
    it(`${text || 'nothing'}: ${expected.length}`, () =>
      assert.deepEqual(refusedNames(text, names), expected));

  it('searches the beginning of a text alone, however long a client makes it', () => {
    const filler = (chars: number): string => 'x '.repeat(chars / 2);
    assert.deepEqual(refusedNames(`${filler(4_096)}settings`, names), ['settings']);
    assert.deepEqual(refusedNames(`${filler(4 * 1024 * 1024)}settings`, names), names);
  });
});
