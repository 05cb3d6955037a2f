/** For mocha's --require: every suite's, test's and hook's timeout, by the factor of `LOAM_TEST_PATIENCE`. */
import type { Suite } from 'mocha';
import { PATIENCE } from './patience.ts';

interface Timed {
  timeout(): number;
  timeout(ms: number): unknown;
}

/** As a suite is, with what mocha's types keep private. */
interface Branch extends Timed {
  readonly suites: readonly Branch[];
  readonly tests: readonly Timed[];
  readonly _beforeAll: readonly Timed[];
  readonly _beforeEach: readonly Timed[];
  readonly _afterEach: readonly Timed[];
  readonly _afterAll: readonly Timed[];
}

function stretchAll(branch: Branch): void {
  const { tests, _beforeAll, _beforeEach, _afterEach, _afterAll } = branch;
  for (const timed of [branch, ...tests, ..._beforeAll, ..._beforeEach, ..._afterEach, ..._afterAll])
    timed.timeout(timed.timeout() * PATIENCE);
  branch.suites.forEach(stretchAll);
}

export const mochaHooks = {
  beforeAll(this: Mocha.Context): void {
    let root: Suite | undefined = this.test?.parent;
    while (root?.parent) root = root.parent;
    if (root) stretchAll(root as unknown as Branch);
  },
};
