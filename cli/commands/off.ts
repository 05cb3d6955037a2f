import { Command } from 'commander';
import { checkMeshName, DEFAULT_MESH } from '../local/names.ts';
import { parseTarget, switchNetworking } from '../local/off.ts';
import { helpText } from './mesh-options.ts';

const EXITS = '0 done, 1 it could not be, 2 what was given is not usable';
const ARGUMENT = 'pod NAMESPACE/NAME, namespace NAMESPACE, or node [NAME]; without any, every node';

function run(words: string[], options: { name: string }, to: 'off' | 'on'): void {
  const mesh = checkMeshName(options.name);
  for (const { what, changed } of switchNetworking(mesh, parseTarget(words), to))
    console.log(`${what}: ${changed ? '' : 'was '}${to}${changed ? '' : ' already'}`);
  if (to === 'off')
    console.error(
      'NOT IN THE MESH now: plain networking, no mTLS and no policy for new connections, until `loam on`.\n' +
        "A local mesh has no kube-proxy: Services' own addresses lead nowhere from there, pods' addresses do (`loam local status`).",
    );
}

/** `loam off …`: plain networking at once, whatever else runs or does not. */
export function offCommand(): Command {
  return new Command('off')
    .description(
      'plain networking at once, without mTLS and policy, for new connections; also while the mesh is down',
    )
    .argument('[target...]', ARGUMENT)
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
    .argument('[target...]', ARGUMENT)
    .option('--name <mesh>', 'which mesh, where there are several', DEFAULT_MESH)
    .addHelpText(
      'after',
      helpText(
        [
          ['loam on pod shop/frontend', ''],
          ['loam on namespace shop', ''],
          ['loam on', 'undoes loam off; pods that were named stay off until they are named'],
        ],
        EXITS,
      ),
    )
    .action((words: string[], options: { name: string }) => run(words, options, 'on'));
}
