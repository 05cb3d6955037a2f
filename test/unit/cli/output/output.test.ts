import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { coloursFor } from '../../../../cli/output/colours.ts';
import { tableLines } from '../../../../cli/output/table.ts';

describe('what commands print', () => {
  it('has colours on a terminal only, and not where somebody said no', () => {
    const red = '\u001b[31mx\u001b[0m';
    assert.equal(coloursFor({ isTTY: true }, {}).bad('x'), red);
    assert.equal(coloursFor({ isTTY: true }, { NO_COLOR: '' }).bad('x'), red, 'empty is unset');
    assert.equal(coloursFor({ isTTY: true }, { NO_COLOR: '1' }).bad('x'), 'x');
    assert.equal(coloursFor({ isTTY: true }, { TERM: 'dumb' }).bad('x'), 'x');
    assert.equal(coloursFor({}, {}).bad('x'), 'x');
  });

  it('has columns that colours do not move', () => {
    assert.deepEqual(
      tableLines(
        [
          ['a', '10', 'x'],
          ['\u001b[31mbcd\u001b[0m', '2'],
        ],
        [1],
      ),
      ['a    10  x', '\u001b[31mbcd\u001b[0m   2'],
    );
  });
});
