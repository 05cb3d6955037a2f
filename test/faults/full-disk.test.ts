import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { mkdirSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { describe, it } from 'mocha';
import { STATE_ROOT } from '../../cli/local/paths.ts';
import { packageRoot, siblingModule } from '../../lib/package-root.ts';
import { finished } from '../mesh/harness.ts';

/** For the state and the logs of a small mesh, and little more. */
const SIZE = '6m';

describe('faults: a full disk', function () {
  this.timeout(400_000);

  it('stops nothing that works, and is forgotten when there is room again', async () => {
    mkdirSync(STATE_ROOT, { recursive: true, mode: 0o700 });
    const inside = fileURLToPath(siblingModule(import.meta.url, './inside/full-disk'));
    // In a view of the file system of its own, so that no other mesh's disk is the full one.
    const child = spawn(
      'unshare',
      [
        ...['--mount', '--propagation', 'private', 'sh', '-c'],
        `mount -t tmpfs -o size=${SIZE},mode=700 loam ${STATE_ROOT} && exec "$@"`,
        ...[
          'sh',
          process.execPath,
          '--enable-source-maps',
          'node_modules/mocha/bin/mocha.js',
          '--exit',
          inside,
        ],
      ],
      { cwd: packageRoot(), stdio: ['ignore', 'pipe', 'pipe'] },
    );
    const { code, stdout, stderr } = await finished(child);
    assert.equal(code, 0, stdout + stderr);
    assert.match(stdout, / passing /, stdout);
  });
});
