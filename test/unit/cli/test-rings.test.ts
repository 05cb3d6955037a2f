import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { missingTestFiles, tallyOf } from '../../../cli/test-rings/run.ts';
import { addTallies, failuresOf, NO_TESTS } from '../../../cli/test-rings/tally.ts';

describe('loam test: the tally of a ring', () => {
  it('reads what mocha counted', () => {
    assert.deepEqual(tallyOf('\n  12 passing (3s)\n  2 failing\n', 2), { passed: 12, failed: 2 });
    assert.deepEqual(tallyOf('\n  12 passing (3s)\n', 0), { passed: 12, failed: 0 });
  });

  it('lets nothing pass by not running', () => {
    assert.deepEqual(tallyOf('', 1), { passed: 0, failed: 1 }, 'a crash before the first test');
    assert.deepEqual(tallyOf('\n  0 passing (1ms)\n', 0), { passed: 0, failed: 1 }, 'no test found');
    assert.deepEqual(tallyOf('\n  3 passing\n  1 pending\n', 0), { passed: 3, failed: 1 }, 'a skipped test');
    assert.deepEqual(tallyOf('\n  3 passing\n', null), { passed: 3, failed: 1 }, 'killed after the summary');
  });

  it('knows the test files that do not exist before anything runs', () => {
    assert.deepEqual(missingTestFiles(['test/unit/no-such.test.ts']), ['test/unit/no-such.test.ts']);
  });

  it('keeps what failed for the end of the whole, ring by ring', () => {
    const failed = { passed: 1, failed: 1, failures: ['unit: a'] };
    const all = addTallies(addTallies(NO_TESTS, failed), { passed: 2, failed: 1, failures: ['mesh: b'] });
    assert.deepEqual(all, { passed: 3, failed: 2, failures: ['unit: a', 'mesh: b'] });
    assert.deepEqual(addTallies(NO_TESTS, { passed: 1, failed: 0 }), { passed: 1, failed: 0 });
  });

  it('says again what failed: mocha\u2019s list, or the last lines of a run that died, within bounds', () => {
    const list = '  1 failing\n\n  1) a test:\n     AssertionError: 1 !== 2';
    assert.equal(failuresOf(`    1) a test\n\n  2 passing (1s)\n${list}\n`), list);
    assert.equal(failuresOf('one\ntwo\n'), 'one\ntwo');
    const long = failuresOf(`  9 failing\n${'x'.repeat(1_000_000)}the end`);
    assert.match(long, /^ {2}9 failing\nx+\n\[…\]\nx+the end$/);
    assert.ok(long.length < 13_000);
  });
});
