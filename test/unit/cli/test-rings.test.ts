import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { missingTestFiles, tallyOf } from '../../../cli/test-rings/run.ts';

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
});
