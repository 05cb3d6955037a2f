import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { span, table, wrap, type Column } from '../../../../cli/demo/layout.ts';
import { plainText } from '../../../../cli/demo/plain.ts';

const columns: readonly Column<readonly [string, string, string]>[] = [
  { head: 'A', cell: ([a]) => span(a) },
  { head: 'B', align: 'right', goes: 2, cell: ([, b]) => span(b) },
  { head: 'C', goes: 1, cell: ([, , c]) => span(c) },
];
const ROWS = [
  ['one', '2', 'three'],
  ['o', '22', '3'],
] as const;

describe('demo: layout', () => {
  it('leaves out columns in their order until the rest fits, and never more', () => {
    const at = (width: number): string => plainText(table(columns, ROWS, width));
    assert.equal(at(15), ' A     B  C\n one   2  three\n o    22  3');
    assert.equal(at(14), ' A     B\n one   2\n o    22');
    assert.equal(at(1), ' A\n one\n o');
  });

  it('breaks lines between words, cuts what is longer than a line, and loses nothing', () => {
    const texts = (width: number): string[] =>
      wrap([span(' ! it: ', 'bad'), span('some words abcdefghij')], width, 2).map((line) =>
        line.map(({ text }) => text).join(''),
      );
    assert.deepEqual(texts(40), [' ! it: some words abcdefghij']);
    assert.deepEqual(
      texts(12).map((line) => line.trimEnd()),
      [' ! it: some', '  words', '  abcdefghij'],
    );
    assert.ok(texts(6).every((line) => line.trimEnd().length <= 6));
    assert.equal(texts(6).join('').replaceAll(' ', ''), '!it:somewordsabcdefghij');
  });
});
