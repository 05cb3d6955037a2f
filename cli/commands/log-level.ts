import { Argument, Command } from 'commander';
import { errorText } from '../../lib/loam-error.ts';
import { LOG_LEVELS } from '../../lib/admin/log-level.ts';
import { MeshError } from '../mesh/errors.ts';
import { programName, type MeshInventory, type MeshReader, type ProgramRef } from '../mesh/reader.ts';
import { programWords, readProgram } from '../look/config-diff.ts';
import { coloursFor } from '../output/colours.ts';
import { print, withOutput, type OutputFlag } from '../output/print.ts';
import { tableLines } from '../output/table.ts';
import { helpText, inNamespace, onMesh, openMesh, type MeshOptions } from './mesh-options.ts';

interface Level {
  readonly program: string;
  readonly level?: string;
  readonly problem?: string;
}

/** `loam log-level`: how much programs say, changed while they run. */
export function logLevelCommand(): Command {
  return withOutput(inNamespace(onMesh(new Command('log-level'))))
    .description(
      'how much the programs of the mesh say in their logs; changed while they run, and until their next start',
    )
    .argument('[program]', 'all, controller, agent/NODE, ztunnel/NODE or waypoint/NAMESPACE/NAME', 'all')
    .addArgument(new Argument('[level]', 'the new one; without it, it is only shown').choices(LOG_LEVELS))
    .addHelpText(
      'after',
      helpText(
        [
          ['loam log-level', 'of all'],
          ['loam log-level ztunnel/node-a debug', 'see more of one node,'],
          ['loam log-level ztunnel/node-a info', 'and no more'],
        ],
        '0 done, 1 a program did not answer, 2 what was given is not usable',
      ),
    )
    .action(async (word: string, level: string | undefined, flags: MeshOptions & OutputFlag) => {
      const reader = await openMesh(flags);
      const levels = await Promise.all(
        programsOf(await reader.inventory(), word).map((program) => levelOf(reader, program, level)),
      );
      const colours = coloursFor(process.stdout);
      await print(flags.output, { levels }, () =>
        tableLines(
          levels.map(({ program, level: now, problem }) => [program, now ?? colours.bad(problem ?? '')]),
        ),
      );
      process.exitCode = levels.every(({ problem }) => problem === undefined) ? 0 : 1;
    });
}

function programsOf(inventory: MeshInventory, word: string): ProgramRef[] {
  const words = word === 'all' ? programWords(inventory) : [word];
  return words.map((each) => readProgram(inventory, each));
}

async function levelOf(reader: MeshReader, program: ProgramRef, level: string | undefined): Promise<Level> {
  try {
    const answer =
      level === undefined
        ? await reader.text(program, '/logging')
        : await reader.text(program, `/logging?level=${level}`, 'POST');
    const [, now] = /^level: (\w+)/.exec(answer) ?? [];
    if (now === undefined)
      throw new MeshError('MESH_ANSWER', `an odd answer: ${JSON.stringify(answer.slice(0, 100))}`);
    return { program: programName(program), level: now };
  } catch (error) {
    return { program: programName(program), problem: errorText(error) };
  }
}
