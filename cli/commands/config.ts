import { Command, Option } from 'commander';
import { MeshError } from '../mesh/errors.ts';
import { dataPlane } from '../look/ask-all.ts';
import {
  differenceText,
  dumpDifferences,
  dumpPath,
  readProgram,
  type Difference,
  type Dump,
} from '../look/config-diff.ts';
import { programName, type MeshReader, type ProgramRef } from '../mesh/reader.ts';
import { coloursFor } from '../output/colours.ts';
import { print, withOutput, type Format, type OutputFlag } from '../output/print.ts';
import { EXIT_NO, helpText, inNamespace, onMesh, openMesh, type MeshOptions } from './mesh-options.ts';

type Flags = MeshOptions & OutputFlag;

const PROGRAMS = 'controller, agent/NODE, ztunnel/NODE or waypoint/NAMESPACE/NAME';

interface Comparison {
  readonly left: string;
  readonly right: string;
  readonly differences: readonly Difference[];
}

/** `loam config`: what programs go by. */
export function configCommand(): Command {
  return new Command('config')
    .description('what the programs of the mesh go by')
    .addCommand(dumpCommand())
    .addCommand(diffCommand());
}

function dumpCommand(): Command {
  return inNamespace(onMesh(new Command('dump')))
    .description('all that one program knows; holds no key and no token')
    .argument('<program>', PROGRAMS)
    .option('--section <name>', 'only this part, such as workloads, services, policies, certificates, egress')
    .addOption(new Option('-o, --output <format>', 'how').choices(['json', 'yaml']).default('json'))
    .addHelpText(
      'after',
      helpText(
        [
          ['loam config dump ztunnel/node-a --section policies', ''],
          ['loam config dump waypoint/shop/waypoint -o yaml', 'of its first instance'],
        ],
        '0 it answered, 1 it did not, 2 what was given is not usable',
      ),
    )
    .action(async (word: string, flags: MeshOptions & { output: Format; section?: string }) => {
      const reader = await openMesh(flags);
      const program = readProgram(await reader.inventory(), word);
      const dump = (await reader.get(program, dumpPath(program))) as Readonly<Record<string, unknown>>;
      const { section } = flags;
      if (section !== undefined && !Object.hasOwn(dump, section))
        throw new MeshError(
          'MESH_INPUT',
          `${programName(program)} has no section ${JSON.stringify(section)}; there are: ${Object.keys(dump).join(', ')}`,
        );
      await print(flags.output, section === undefined ? dump : dump[section], () => []);
    });
}

function diffCommand(): Command {
  return withOutput(inNamespace(onMesh(new Command('diff'))))
    .description(
      'what two programs hold otherwise; without names, each ztunnel and waypoint beside the first ztunnel',
    )
    .argument('[left]', PROGRAMS)
    .argument('[right]', 'the other one')
    .addHelpText(
      'after',
      helpText(
        [
          ['loam config diff', 'are all nodes of one mind?'],
          ['loam config diff ztunnel/node-a ztunnel/node-b', ''],
        ],
        `0 they hold the same, ${EXIT_NO} they differ, 1 one does not answer, 2 what was given is not usable`,
        'Workloads, Services and policies are compared. A waypoint is told less than a node: only what both know counts there.',
      ),
    )
    .action(diff);
}

async function diff(left: string | undefined, right: string | undefined, flags: Flags): Promise<void> {
  if (left !== undefined && right === undefined)
    throw new MeshError('MESH_INPUT', 'name two programs to compare, or none for all');
  const reader = await openMesh(flags);
  const inventory = await reader.inventory();
  const [first, ...others] =
    left !== undefined && right !== undefined
      ? [readProgram(inventory, left), readProgram(inventory, right)]
      : dataPlane(inventory);
  if (first === undefined) throw new MeshError('MESH_STATE', 'the mesh has no node');
  const comparisons = await Promise.all(others.map((other) => compare(reader, first, other)));
  const colours = coloursFor(process.stdout);
  await print(flags.output, { comparisons }, () =>
    comparisons.flatMap(({ left: a, right: b, differences }) =>
      differences.length === 0
        ? [`${colours.good('same')}  ${a} and ${b}`]
        : [
            `${colours.bad('differ')}  - ${a}  + ${b}`,
            ...differences.flatMap(differenceText).map((line) => `  ${line}`),
          ],
    ),
  );
  process.exitCode = comparisons.every(({ differences }) => differences.length === 0) ? 0 : EXIT_NO;
}

async function compare(reader: MeshReader, left: ProgramRef, right: ProgramRef): Promise<Comparison> {
  const dumps = await Promise.all(
    [left, right].map(async (each) => (await reader.get(each, dumpPath(each))) as Dump),
  );
  const [a = {}, b = {}] = dumps;
  const common = [left, right].some(({ program }) => program !== 'ztunnel') || dumps.some(isOnDemand);
  return { left: programName(left), right: programName(right), differences: dumpDifferences(a, b, common) };
}

function isOnDemand(dump: Dump): boolean {
  const { config } = dump as { readonly config?: { readonly onDemand?: boolean } };
  return config?.onDemand === true;
}
