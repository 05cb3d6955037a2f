/** The report that the suite writes (gateway.networking.k8s.io/v1 ConformanceReport). */
import { parse } from 'yaml';
import type { Tally } from '../tally.ts';
import { PROFILES } from './features.ts';

interface Part {
  readonly result?: string;
  readonly statistics?: { readonly Failed?: number; readonly Passed?: number; readonly Skipped?: number };
}

interface Report {
  readonly profiles?: readonly { readonly name?: string; readonly core?: Part; readonly extended?: Part }[];
}

/**
 * What of a report counts as passed. A profile without a core, a test that was skipped, and an exit code that contradicts
 * the report count as failures: nothing may pass by not running.
 *
 * @param text the report; undefined when none was written
 */
export function tallyOfReport(text: string | undefined, exitCode: number | null): Tally {
  const report = (text === undefined ? undefined : parse(text)) as Report | null | undefined;
  let passed = 0;
  let failed = 0;
  for (const wanted of PROFILES) {
    const profile = report?.profiles?.find(({ name }) => name === wanted);
    if ((profile?.core?.statistics?.Passed ?? 0) === 0) failed += 1;
    for (const { statistics } of [profile?.core ?? {}, profile?.extended ?? {}]) {
      passed += statistics?.Passed ?? 0;
      failed += (statistics?.Failed ?? 0) + (statistics?.Skipped ?? 0);
    }
  }
  return { passed, failed: failed === 0 && exitCode !== 0 ? 1 : failed };
}
