/** What ../full-disk.test.ts runs where the state of meshes is on a small disk of its own. */
import assert from 'node:assert/strict';
import { closeSync, openSync, readdirSync, rmSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'mocha';
import { STATE_ROOT } from '../../../cli/local/paths.ts';
import { eventually, Mesh } from '../../mesh/harness.ts';
import { allowOnly, BASE, serverManifest } from '../../mesh/manifests.ts';

const FILL = join(STATE_ROOT, 'fill');

/** Until not a byte more is taken. */
function fillDisk(): void {
  const fd = openSync(FILL, 'a', 0o600);
  try {
    for (const size of [1 << 20, 1 << 12, 1]) {
      try {
        for (;;) writeSync(fd, Buffer.alloc(size));
      } catch (error) {
        assert.equal((error as NodeJS.ErrnoException).code, 'ENOSPC');
      }
    }
  } finally {
    closeSync(fd);
  }
}

describe('a mesh on a full disk', function () {
  this.timeout(300_000);
  let mesh: Mesh;

  before(async () => {
    mesh = await Mesh.up(BASE);
  });
  after(async () => {
    rmSync(FILL, { force: true });
    await mesh.down();
  });

  const answers = async (from: string, host: string): Promise<boolean> =>
    (await mesh.exec(from, 'curl', '-s', '--max-time', '15', '--data', 'hi', `http://${host}/`)).stdout ===
    'hi';

  it('goes on, takes edits, and comes back from the death of its programs', async () => {
    assert.ok(await answers('client', 'server'));
    fillDisk();
    assert.ok(await answers('client', 'server'), 'what works goes on');

    mesh.write('server-policy.yaml', allowOnly('server', 'other'));
    await eventually(
      'an edit to be in force',
      async () => !(await answers('client', 'server')) && (await answers('other', 'server')),
    );

    for (const [program, node] of [
      ['ztunnel', 'node-b'],
      ['agent', 'node-b'],
      ['controller', undefined],
    ] as const) {
      const { pid } = await mesh.program(program, node);
      process.kill(pid, 'SIGKILL');
      await eventually(`another ${program}`, async () => (await mesh.program(program, node)).pid !== pid);
      await eventually(`traffic after the death of ${program}`, () => answers('other', 'server'));
    }
    // What is denied stays denied, though the last good state could not be written.
    assert.equal(await answers('client', 'server'), false);

    // Who died left some room.
    fillDisk();
    mesh.write('late.yaml', serverManifest('late', 'node-b'));

    rmSync(FILL);
    await eventually(
      'the pod that found no room',
      async () => (await mesh.pod('late').catch(() => undefined))?.ready === true,
    );
    mesh.write('server-policy.yaml', allowOnly('server', 'client'));
    await eventually('an edit to be in force', () => answers('client', 'server'));
    await eventually('all of the mesh to be well', async () => {
      const { readiness } = await mesh.status();
      return (
        readiness.controller.ready &&
        readiness.nodes.every(({ agent, ztunnel }) => agent.ready && ztunnel.ready)
      );
    });
    const temporary = readdirSync(mesh.paths.dir, { recursive: true, encoding: 'utf8' }).filter((name) =>
      name.endsWith('.tmp'),
    );
    assert.deepEqual(temporary, [], 'no half-written file stays');
  });
});
