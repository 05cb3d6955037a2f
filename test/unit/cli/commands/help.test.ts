import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { before, describe, it } from 'mocha';
import type { Command } from 'commander';
import { fullName, loamCommands, withChildren } from '../../../../docs/generate/cli-page.ts';
import { orOfLocalMesh } from '../../../../cli/commands/install.ts';
import { InstallError } from '../../../../cli/install/errors.ts';
import { seenMeshes } from '../../../../cli/local/seen-meshes.ts';
import { siblingModule } from '../../../../lib/package-root.ts';

const MAIN = fileURLToPath(siblingModule(import.meta.url, '../../../../cli/main'));

describe('commands', function () {
  this.timeout(60_000);
  let leaves: readonly Command[];

  before(async () => {
    const program = await loamCommands();
    leaves = program.commands.flatMap(withChildren).filter(({ commands }) => commands.length === 0);
  });

  it('have help of one form: an example of each, and what its exit codes mean', () => {
    assert.ok(leaves.length > 30);
    for (const command of leaves) {
      let help = '';
      command.configureOutput({ writeOut: (text) => (help += text) });
      command.outputHelp();
      const examples = /\nExamples:\n((?: {2}.+\n)+)\nExit codes: .*\.\n/.exec(help)?.[1] ?? '';
      assert.ok(examples.includes(`  ${fullName(command)}`), `${fullName(command)}: ${help}`);
    }
  });

  it('that tell something tell it to scripts as well, as JSON and YAML', () => {
    const told = leaves.filter(({ options }) => options.some(({ long }) => long === '--output'));
    assert.ok(told.length > 15);
    for (const command of told) {
      const choices = command.options.find(({ long }) => long === '--output')?.argChoices;
      // Of `image build` it is a folder.
      if (choices !== undefined)
        assert.ok(
          ['json', 'yaml'].every((format) => choices.includes(format)),
          `${fullName(command)}: ${choices.join()}`,
        );
    }
  });

  it('end with 2 for what was given and is not understood, and with 0 when they are asked for help', () => {
    for (const [args, expected] of [
      [['certs', '--output', 'xml'], 2],
      [['why', '--nonsense'], 2],
      [['nonsense'], 2],
      [['describe', 'pod'], 2],
      [['describe', '--help'], 0],
      [['--version'], 0],
    ] as const) {
      const { status, stderr } = spawnSync(process.execPath, [MAIN, ...args], { encoding: 'utf8' });
      assert.equal(status, expected, `${args.join(' ')}: ${stderr}`);
    }
  });

  it('says what is not understood last, and not below the whole help', () => {
    for (const [word, expected] of [
      ['lcoal', /^error: unknown command 'lcoal'\n\(Did you mean local\?\)\nloam --help lists the commands/],
      ['version', /^error: unknown command 'version'\n[^]*loam --version tells the version\n$/],
    ] as const) {
      const { stderr } = spawnSync(process.execPath, [MAIN, word], { encoding: 'utf8' });
      assert.match(stderr, expected);
      assert.ok(stderr.split('\n').length < 7, stderr);
    }
  });

  it('names the local mesh where an upgrade finds no cluster', () => {
    const error = new InstallError('INSTALL_INPUT', 'the kubeconfig is not usable');
    const said = (meshes: readonly string[]): string => (orOfLocalMesh(error, meshes) as Error).message;
    assert.equal(said([]), 'the kubeconfig is not usable');
    assert.equal(said(['demo', 'local']), `${said([])}; for the local mesh: loam local upgrade`);
    assert.equal(said(['demo']), `${said([])}; for the local mesh: loam local upgrade --name demo`);
    const folder = mkdtempSync(join(tmpdir(), 'loam-netns-'));
    for (const name of ['loam-demo-fabric', 'loam-demo-node-a', 'loam-a-b-fabric', 'other'])
      writeFileSync(join(folder, name), '');
    assert.deepEqual(seenMeshes(folder), ['demo']);
    rmSync(folder, { recursive: true });
    assert.deepEqual(seenMeshes(folder), []);
  });
});
