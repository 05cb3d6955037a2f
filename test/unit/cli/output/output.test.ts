import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { coloursFor } from '../../../../cli/output/colours.ts';
import { printableJson, printableLine, printableText } from '../../../../cli/output/printable.ts';
import { complain, say } from '../../../../cli/output/say.ts';
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

  it('shows what peers wrote and lets none of it steer the terminal', () => {
    const red = '\u001b[31mno\u001b[0m';
    assert.equal(printableLine(`GET /\u001b]0;x\u0007\u009b2J ${red}`), `GET /\\x1b]0;x\\x07\\x9b2J ${red}`);
    assert.equal(printableLine('a\nb\r\u001b[8mc\u202ed'), 'a\\x0ab\\x0d\\x1b[8mc\\u202ed');
    assert.equal(printableText('answers 500: \u001b]0;x\u0007\nmore'), 'answers 500: \\x1b]0;x\\x07\nmore');
    const value = { path: '/\u009b2J\u007f\u202e', name: 'mañana' };
    const json = printableJson(JSON.stringify(value, undefined, 2));
    assert.match(json, /^[\x20-\x7eñ\n]+$/);
    assert.deepEqual(JSON.parse(json), value);
  });

  it('says in lines, none of which steers the terminal', () => {
    const said: unknown[] = [];
    const { log, error } = console;
    Object.assign(console, {
      log: (text: unknown) => said.push(text),
      error: (text: unknown) => said.push(text),
    });
    try {
      say('warning: a\u001b]0;x\u0007.yaml\nmore');
      complain('NOT IN FORCE: \u009b2J');
    } finally {
      Object.assign(console, { log, error });
    }
    assert.deepEqual(said, ['warning: a\\x1b]0;x\\x07.yaml\nmore', 'NOT IN FORCE: \\x9b2J']);
  });
});
