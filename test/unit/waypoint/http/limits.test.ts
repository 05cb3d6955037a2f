import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'mocha';
import { packageRoot } from '../../../../lib/package-root.ts';
import { LINGER_MS, MAX_PIPELINED_REQUESTS } from '../../../../waypoint/http/http1-connection.ts';
import { HTTP_LIMITS, MAX_INTERIM_RESPONSES } from '../../../../waypoint/http/limits.ts';

describe('waypoint/http/limits', () => {
  it('are those that docs/waypoint-limits.md tells, all of them', () => {
    const text = readFileSync(join(packageRoot(), 'docs', 'waypoint-limits.md'), 'utf8');
    const told = [...text.matchAll(/^\| `(\w+)` \| (\d+) \|/gm)].map(([, name, value]) => [
      name,
      Number(value),
    ]);
    assert.deepEqual(Object.fromEntries(told), {
      ...HTTP_LIMITS,
      MAX_PIPELINED_REQUESTS,
      LINGER_MS,
      MAX_INTERIM_RESPONSES,
    });
  });
});
