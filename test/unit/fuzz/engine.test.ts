import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { runTarget } from '../../fuzz/engine/run-target.ts';

describe('test/fuzz/engine', () => {
  it('finds a fault behind several branches, the same way each time', async () => {
    const run = { seed: 7, executions: 15_000 };
    const [first, second] = await Promise.all([runTarget('maze', run), runTarget('maze', run)]);
    const found = first.findings.find(({ error }) => error.includes('nested too deep'));
    assert.ok(found !== undefined, JSON.stringify(first));
    assert.match(found.input, /^LOAM\/[9-~\x80-\xff].\/\({5}$/s, 'the shortest input that shows it');
    assert.deepEqual({ ...first, slowestMs: 0 }, { ...second, slowestMs: 0 });
  });

  it('names the input that a parser does not come back from', async () => {
    const { findings } = await runTarget('pit', { seed: 1, executions: 1_000, stuckMs: 2_000 });
    assert.deepEqual(findings, [{ input: 'y#', error: 'it did not end in 2 s' }]);
  });
});
