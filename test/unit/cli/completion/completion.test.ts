import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { Argument, Command, Option } from 'commander';
import { describe, it } from 'mocha';
import { completionScript } from '../../../../cli/completion/scripts.ts';
import { completionTree } from '../../../../cli/completion/tree.ts';

function program(): Command {
  return new Command('loam')
    .version('1')
    .addCommand(
      new Command('local')
        .description("the machine's own")
        .addCommand(new Command('up').description('start it').option('--name <mesh>', 'which'))
        .addCommand(new Command('down').description('end it')),
    )
    .addCommand(
      new Command('tap')
        .addArgument(new Argument('[level]', 'x').choices(['debug', 'info']))
        .addOption(new Option('-o, --output <format>', 'how').choices(['text', 'json'])),
    );
}

/** What bash would offer after these words, of which the last is begun. */
function offered(...words: string[]): string[] {
  const script = completionScript('bash', completionTree(program()));
  const run = `compopt() { :; }
${script}
COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1))
_loam
printf '%s\\n' "\${COMPREPLY[@]}"`;
  const out = execFileSync('bash', ['-u', '-c', run, 'bash', 'loam', ...words], { encoding: 'utf8' });
  return out.split('\n').filter((word) => word !== '');
}

describe('completion', () => {
  it('offers commands, subcommands, options and their values in bash', () => {
    assert.deepEqual(offered(''), ['local', 'tap', '--version', '-V', '--help', '-h']);
    assert.deepEqual(offered('lo'), ['local']);
    assert.deepEqual(offered('local', ''), ['up', 'down', '--help', '-h']);
    assert.deepEqual(offered('local', 'up', '--'), ['--name', '--help']);
    assert.deepEqual(offered('local', 'up', '--name', ''), [], 'a name is not ours to guess');
    assert.deepEqual(offered('tap', '-o', ''), ['text', 'json']);
    assert.deepEqual(offered('tap', '--output', 'j'), ['json']);
    assert.deepEqual(offered('tap', 'd'), ['debug']);
    assert.deepEqual(offered('tap', '--output', 'json', 'i'), ['info'], 'a value is no command');
  });

  it('describes all of it to zsh and fish', () => {
    const nodes = completionTree(program());
    const zsh = completionScript('zsh', nodes);
    assert.match(zsh, /^#compdef loam$/m);
    assert.match(zsh, /'local up'\) list=\('--name:which' '--help:how it is used'\) ;;/);
    assert.match(zsh, /'local:the machine'\\''s own'/);
    const fish = completionScript('fish', nodes);
    assert.match(fish, /^complete -c loam -f -n '__loam_at "local"' -a 'up' -d 'start it'$/m);
    assert.match(fish, /^complete -c loam -n '__loam_at "tap"' -l output -s o -x -a 'text json' -d 'how'$/m);
  });
});
