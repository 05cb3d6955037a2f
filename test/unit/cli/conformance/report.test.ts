import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { stringify } from 'yaml';
import { tallyOfReport } from '../../../../cli/test-rings/conformance/report.ts';

const part = (Passed: number, Failed = 0, Skipped = 0): object => ({
  result: 'success',
  statistics: { Passed, Failed, Skipped },
});
const report = (http: object, grpc: object = { core: part(2) }): string =>
  stringify({
    kind: 'ConformanceReport',
    profiles: [
      { name: 'MESH-HTTP', ...http },
      { name: 'MESH-GRPC', ...grpc },
    ],
  });

describe('loam test conformance: the tally of a report', () => {
  it('counts core and extended of both profiles', () => {
    assert.deepEqual(tallyOfReport(report({ core: part(7), extended: part(12, 1) }), 1), {
      ...{ passed: 21, failed: 1 },
    });
  });

  it('lets nothing pass by not running', () => {
    assert.deepEqual(tallyOfReport(undefined, 1), { passed: 0, failed: 2 }, 'no report');
    assert.deepEqual(tallyOfReport(report({}), 0), { passed: 2, failed: 1 }, 'a profile without a core');
    assert.deepEqual(tallyOfReport(report({ core: part(7, 0, 1) }), 0), { passed: 9, failed: 1 }, 'skipped');
    assert.deepEqual(tallyOfReport(report({ core: part(7) }), 1), { passed: 9, failed: 1 }, 'the exit code');
    assert.deepEqual(tallyOfReport(stringify({ profiles: [] }), 0), { passed: 0, failed: 2 }, 'no profile');
  });
});
