import assert from 'node:assert/strict';
import { before, describe, it } from 'mocha';
import { availableParallelism } from 'node:os';
import { runTarget, type TargetReport } from './engine/run-target.ts';
import { TARGET_NAMES } from './targets/index.ts';

/** Over all targets together; `LOAM_FUZZ_SECONDS` makes it longer. */
const SECONDS = Number(process.env['LOAM_FUZZ_SECONDS'] ?? 40);
const SEED = Number(process.env['LOAM_FUZZ_SEED'] ?? 1);
/** Replace the corpus in the repository by what was found. */
const WRITE = process.env['LOAM_FUZZ_WRITE'] === '1';
/** To start, and to make the corpus smaller in the end. */
const BESIDES_MS = 60_000;

describe('fuzzing of what peers send', () => {
  const reports = new Map<string, Promise<TargetReport>>();

  before(() => {
    assert.ok(SECONDS > 0 && Number.isInteger(SEED), 'LOAM_FUZZ_SECONDS and LOAM_FUZZ_SEED must be numbers');
    const lanes = Math.min(2, availableParallelism());
    const seconds = (SECONDS * lanes) / TARGET_NAMES.length;
    const ends: Promise<unknown>[] = Array<Promise<unknown>>(lanes).fill(Promise.resolve());
    for (const [i, name] of TARGET_NAMES.entries()) {
      const report = (ends[i % lanes] ?? Promise.resolve()).then(() =>
        runTarget(name, { seed: SEED, seconds, write: WRITE }),
      );
      ends[i % lanes] = report;
      reports.set(name, report);
    }
  });

  for (const name of TARGET_NAMES) {
    it(name, async function () {
      this.timeout((SECONDS + TARGET_NAMES.length * (BESIDES_MS / 1_000)) * 1_000);
      const report = await reports.get(name);
      assert.ok(report !== undefined);
      console.log(
        `      ${report.executions} executions, ${report.branches} of ${report.allBranches} branches, ` +
          `${report.features} features, ${report.corpus} inputs, slowest ${Math.round(report.slowestMs)} ms`,
      );
      assert.deepEqual(report.findings, []);
      assert.ok(report.executions > 0);
    });
  }
});
