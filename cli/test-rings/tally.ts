/** How many tests passed and failed, and what the runner said of those that failed. */
export interface Tally {
  readonly passed: number;
  readonly failed: number;
  /** One text for each run with failures: its closing part, for the end of the whole. */
  readonly failures?: readonly string[];
}

export const NO_TESTS: Tally = { passed: 0, failed: 0 };

export function addTallies(a: Tally, b: Tally): Tally {
  const failures = [...(a.failures ?? []), ...(b.failures ?? [])];
  return {
    passed: a.passed + b.passed,
    failed: a.failed + b.failed,
    ...(failures.length === 0 ? {} : { failures }),
  };
}

/** Characters of one run's failures that are said again. Half of them from its beginning: the first failure counts most. */
const SAID_AGAIN = 12_000;

/**
 * The part of a mocha run's output that tells its failures: from its last line `N failing` on. A run that ended
 * without one (killed, crashed, skipped) tells its last lines.
 */
export function failuresOf(output: string): string {
  const at = [...output.matchAll(/^ +\d+ failing\b/gm)].at(-1)?.index;
  const text = (at === undefined ? output.split('\n').slice(-60).join('\n') : output.slice(at)).trimEnd();
  if (text.length <= SAID_AGAIN) return text;
  return `${text.slice(0, SAID_AGAIN / 2)}\n[…]\n${text.slice(-SAID_AGAIN / 2)}`;
}
