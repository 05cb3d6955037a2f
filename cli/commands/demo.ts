import { Command } from 'commander';
import { runDemo } from '../demo/run.ts';
import { LocalMeshError } from '../local/errors.ts';
import { checkMeshName } from '../local/names.ts';
import { helpText } from './mesh-options.ts';

const ONCE_SECONDS = 10;
/** A slow machine has more time to show all that there is. */
const ONCE_PATIENCE_SECONDS = 30;

/** `loam demo`: the whole mesh at work on this machine. */
export function demoCommand(): Command {
  return new Command('demo')
    .description(
      'two nodes and a shop on this machine: who calls whom and proves to be whom, splits, retries, fallbacks, denials',
    )
    .option(
      '--once',
      `run for some seconds (${ONCE_SECONDS}), print what was seen; exit code 0 only if it is right`,
    )
    .option('--seconds <n>', 'end by itself after so many seconds')
    .option('--name <mesh>', 'name of its mesh', 'demo')
    .addHelpText(
      'after',
      helpText(
        [
          ['loam demo', 'until Ctrl-C'],
          ['loam demo --once', 'for scripts: whether all of it is right'],
        ],
        '0 all that was seen is right, 1 something is not, 2 what was given is not usable',
      ),
    )
    .action(async (options: { once?: boolean; seconds?: string; name: string }) => {
      const seconds = options.seconds === undefined ? undefined : Number(options.seconds);
      if (seconds !== undefined && !(seconds > 0 && seconds < 1e6))
        throw new LocalMeshError(
          'LOCAL_MESH_INPUT',
          `--seconds ${JSON.stringify(options.seconds)} is not a number of seconds above 0`,
        );
      const once = options.once === true;
      process.exitCode = await runDemo({
        mesh: checkMeshName(options.name),
        once,
        seconds: seconds ?? (once ? ONCE_SECONDS : undefined),
        ...(once && seconds === undefined ? { patienceSeconds: ONCE_PATIENCE_SECONDS } : {}),
      });
    });
}
