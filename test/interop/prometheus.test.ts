import assert from 'node:assert/strict';
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { before, describe, it } from 'mocha';
import { packageRoot } from '../../lib/package-root.ts';
import { PATIENCE } from '../support/patience.ts';
import { prometheusPrograms, promtool } from '../support/prometheus.ts';

const RULES = join(packageRoot(), 'deploy', 'monitoring', 'rules');
const FETCH_MS = 300_000;

function yamlIn(folder: string): string[] {
  return readdirSync(folder)
    .filter((file) => file.endsWith('.yaml'))
    .map((file) => join(folder, file));
}

describe("promtool of the distribution, on Loam's rules", function () {
  this.timeout(300_000 * PATIENCE);

  before(async function () {
    this.timeout(FETCH_MS);
    await prometheusPrograms();
  });

  it('accepts them', async () => {
    const { code, output } = await promtool(['check', 'rules', ...yamlIn(RULES)]);
    assert.equal(code, 0, output);
  });

  it('passes their tests', async () => {
    const { code, output } = await promtool(['test', 'rules', ...yamlIn(join(RULES, 'tests'))]);
    assert.equal(code, 0, output);
    assert.doesNotMatch(output, /FAILED/);
  });
});
