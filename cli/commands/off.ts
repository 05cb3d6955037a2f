import { Command } from 'commander';
import { checkMeshName, DEFAULT_MESH } from '../local/names.ts';
import { parseTarget, switchedOff, switchNetworking, undoText } from '../local/off.ts';
import { complain, say } from '../output/say.ts';
import { helpText } from './mesh-options.ts';

const EXITS = '0 done, 1 it could not be, 2 what was given is not usable';
const ARGUMENT = 'pod NAMESPACE/NAME, namespace NAMESPACE, or node [NAME]; without any,';
/** How many of what is still off are named. */
const MAX_NAMED = 12;

function run(words: string[], options: { name: string }, to: 'off' | 'on'): void {
  const mesh = checkMeshName(options.name);
  const target = parseTarget(words);
  const done = switchNetworking(mesh, target, to);
  for (const { what, changed } of done)
    say(`${what}: ${changed ? '' : 'was '}${to}${changed ? '' : ' already'}`);
  if (to === 'off') {
    complain(
      `NOT IN THE MESH now: plain networking, no mTLS and no policy for new connections; undo it: ${undoText(mesh, words.join(' '))}\n` +
        "A local mesh has no kube-proxy: Services' own addresses lead nowhere from there, pods' addresses do (`loam local status`).",
    );
    return;
  }
  if (target.kind === 'all' && done.length === 0) say(`nothing of the mesh ${mesh} was off`);
  tellStillOff(mesh);
}

/** Who undoes a part must not think that all of it is undone. */
function tellStillOff(mesh: string): void {
  const left = switchedOff(mesh);
  for (const { what } of left.slice(0, MAX_NAMED))
    complain(`still off: ${what}; undo it: ${undoText(mesh, what)}`);
  if (left.length > MAX_NAMED) complain(`and ${left.length - MAX_NAMED} more are off`);
  if (left.length > 1) complain(`undo all of it: ${undoText(mesh, '')}`);
}

/** `loam off …`: plain networking at once, whatever else runs or does not. */
export function offCommand(): Command {
  return new Command('off')
    .description(
      'plain networking at once, without mTLS and policy, for new connections; also while the mesh is down',
    )
    .argument('[target...]', `${ARGUMENT} every node`)
    .option('--name <mesh>', 'which mesh, where there are several', DEFAULT_MESH)
    .addHelpText(
      'after',
      helpText(
        [
          ['loam off pod shop/frontend', ''],
          ['loam off namespace shop', 'its pods of this moment'],
          ['loam off', 'all of them, on every node'],
        ],
        EXITS,
      ),
    )
    .action((words: string[], options: { name: string }) => run(words, options, 'off'));
}

/** `loam on …`: undoes `loam off`. */
export function onCommand(): Command {
  return new Command('on')
    .description('undo `loam off`')
    .argument('[target...]', `${ARGUMENT} all that is off`)
    .option('--name <mesh>', 'which mesh, where there are several', DEFAULT_MESH)
    .addHelpText(
      'after',
      helpText(
        [
          ['loam on pod shop/frontend', ''],
          ['loam on namespace shop', ''],
          ['loam on', 'all that is off: nodes and pods'],
        ],
        EXITS,
      ),
    )
    .action((words: string[], options: { name: string }) => run(words, options, 'on'));
}
