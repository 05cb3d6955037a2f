import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { BEGIN, END, guestScript, quoted } from '../../../cli/test-rings/vm/guest.ts';
import { readResult } from '../../../cli/test-rings/vm/qemu.ts';
import { guestPatience, guestTally } from '../../../cli/test-rings/vm/ring.ts';

describe('loam test vm: what a machine says', () => {
  const said = `${BEGIN}6.1.0-1-amd64\r\n  3 passing\r\n3 passed, 0 failed\r\n`;

  it('is read from its output: kernel, and the exit code of its command', () => {
    assert.deepEqual(readResult(`${said}${END}0\r\n`), {
      kernel: '6.1.0-1-amd64',
      output: `${said}${END}0\r\n`,
      exitCode: 0,
    });
    assert.equal(readResult(said).exitCode, undefined, 'a machine that died');
    assert.equal(readResult('').kernel, undefined, 'one that never began');
  });

  it('counts as its command counted, and nothing passes by not running', () => {
    assert.deepEqual(guestTally(said, 0), { passed: 3, failed: 0 });
    assert.deepEqual(guestTally('3 passed, 2 failed\r\n', 1), { passed: 3, failed: 2 });
    assert.deepEqual(guestTally('1 passed, 0 failed\n3 passed, 2 failed\n', 1), { passed: 3, failed: 2 });
    assert.deepEqual(guestTally(said, undefined), { passed: 3, failed: 1 }, 'died after its last line');
    assert.deepEqual(guestTally(said, 1), { passed: 3, failed: 1 });
    assert.deepEqual(guestTally('', 0), { passed: 0, failed: 1 });
  });

  it('is waited for with a multiple of the patience that this machine needs, within what is allowed', () => {
    assert.equal(guestPatience('3'), 3 * guestPatience());
    assert.equal(guestPatience('100'), 100);
  });

  it("comes of a script in which no word is the shell's", () => {
    assert.equal(quoted("it's"), `'it'\\''s'`);
    const script = guestScript({
      ...{ port: '/dev/ttyS1', modules: '/m', folder: '/a b', path: '/bin', patience: 10 },
      command: ['echo', '$HOME; reboot'],
    });
    assert.ok(script.includes("\ncd '/a b'\n'echo' '$HOME; reboot' </dev/null\n"));
  });
});
