import assert from 'node:assert/strict';
import { before, describe, it } from 'mocha';
import { randomInt } from 'node:crypto';
import { availableParallelism } from 'node:os';
import { runTarget, type TargetReport } from './engine/run-target.ts';
import { EVERYDAY, TARGET_NAMES } from './targets/index.ts';

/** Over all targets together: with `LOAM_FUZZ_SECONDS`, a run by time that looks where none has looked before. */
const ASKED = process.env['LOAM_FUZZ_SECONDS'];
/** What the everyday run takes on a machine ten times as slow as it should be. */
const SECONDS = Number(ASKED ?? 400);
/** Fixed in the everyday run: it must not turn red for what was there long before. */
const SEED = Number(process.env['LOAM_FUZZ_SEED'] ?? (ASKED === undefined ? 1 : randomInt(2 ** 31)));
/** Replace the corpus in the repository by what was found. */
const WRITE = process.env['LOAM_FUZZ_WRITE'] === '1';
/** To start, and to make the corpus smaller in the end. */
const BESIDES_MS = 60_000;

describe('fuzzing of what peers send', () => {
  const reports = new Map<string, Promise<TargetReport>>();

  before(() => {
    assert.ok(SECONDS > 0 && Number.isInteger(SEED), 'LOAM_FUZZ_SECONDS and LOAM_FUZZ_SEED must be numbers');
    console.log(`      seed ${SEED}`);
    const lanes = Math.min(2, availableParallelism());
    const seconds = (SECONDS * lanes) / TARGET_NAMES.length;
    const ends: Promise<unknown>[] = Array<Promise<unknown>>(lanes).fill(Promise.resolve());
    for (const [i, name] of TARGET_NAMES.entries()) {
      const report = (ends[i % lanes] ?? Promise.resolve()).then(() =>
        runTarget(name, {
          seed: SEED,
          seconds,
          write: WRITE,
          ...(ASKED === undefined && { executions: EVERYDAY[name] }),
        }),
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
