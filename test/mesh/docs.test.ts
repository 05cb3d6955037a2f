import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { after, before, describe, it } from 'mocha';
import { packageRoot, siblingModule } from '../../lib/package-root.ts';
import { takeDown } from '../../cli/local/down.ts';
import { PATIENCE } from '../support/patience.ts';
import { stepsOf, type RunnableStep } from '../support/runnable-page.ts';
import { eventually, finished, type CommandResult } from './harness.ts';

const LAST = './loam local down';
const START = stepsOf('start.md');
/** Deny by default closes what the others need. */
const READ_ON = ['canary', 'retries', 'fallback', 'egress', 'default-deny', 'off'];
/** As somebody would who reads on after the first page; its last command ends the mesh. */
const STEPS = [
  ...START.filter(({ script }) => script.trim() !== LAST),
  ...READ_ON.flatMap((page) => stepsOf(`tasks/${page}.md`)),
  ...START.filter(({ script }) => script.trim() === LAST),
];

/** The page's command is of this tree, and its mesh one of the test's own. */
const PRELUDE = `set -e
loam() {
  case "$1 $2" in
    'local up') shift 2; "$NODE" "$MAIN" local up --name "$MESH" --timeout "$TIMEOUT" "$@" ;;
    local*) sub=$2; shift 2; "$NODE" "$MAIN" local "$sub" --name "$MESH" "$@" ;;
    *) sub=$1; shift; "$NODE" "$MAIN" "$sub" --name "$MESH" "$@" ;;
  esac
}
`;

describe('mesh: the commands of the documentation', function () {
  this.timeout(180_000 * PATIENCE);
  const mesh = `d${randomBytes(4).toString('hex')}`;
  let folder: string;

  before(() => {
    folder = mkdtempSync(join(tmpdir(), 'loam-docs-'));
    symlinkSync(join(packageRoot(), 'deploy'), join(folder, 'deploy'));
  });
  after(async () => {
    await takeDown(mesh);
    rmSync(folder, { recursive: true, force: true });
  });

  const run = ({ script }: RunnableStep): Promise<CommandResult> =>
    finished(
      spawn('bash', ['-c', PRELUDE + script.replaceAll('./loam ', 'loam ')], {
        cwd: folder,
        stdio: ['pipe', 'pipe', 'pipe'],
        env: {
          ...process.env,
          NODE: process.execPath,
          MAIN: fileURLToPath(siblingModule(import.meta.url, '../../cli/main')),
          MESH: mesh,
          TIMEOUT: String(60 * PATIENCE),
        },
      }),
    );
  const check = ({ expected }: RunnableStep, { code, stdout, stderr }: CommandResult): void => {
    assert.equal(code, 0, stdout + stderr);
    for (const line of expected) assert.ok(stdout.includes(line), `no ${line} in:\n${stdout}${stderr}`);
  };

  assert.ok(STEPS.length >= 24, `${STEPS.length} commands`);
  for (const step of STEPS)
    it(`${step.page}:${step.line} does what the page says`, async () => {
      if (!step.until) return check(step, await run(step));
      await eventually(step.script, async () => {
        check(step, await run(step));
        return true;
      });
    });
});
