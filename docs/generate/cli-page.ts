import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Command } from 'commander';
import { packageRoot } from '../../lib/package-root.ts';
import { fence, pageOf } from './markdown.ts';

const WIDTH = 110;
const IMPORT = /^import \{ ([^}]+) \} from '\.\/commands\/([\w-]+)\.ts';$/gm;
const ADDED = /\.addCommand\((\w+)\(\)\)/g;
const INTRODUCTION = `What \`loam COMMAND --help\` prints, of every command. In a clone the command is \`./loam\`, which installs what is missing and
builds before it runs. Commands for the local mesh go through \`sudo\` by themselves; those for a cluster run as you, with your kubeconfig.`;

/** The commands of `loam`, in its own order: as cli/main.ts adds them, which runs one when it is imported. */
export async function loamCommands(): Promise<Command> {
  const main = readFileSync(join(packageRoot(), 'cli', 'main.ts'), 'utf8');
  const files = new Map<string, string>();
  for (const [, names = '', file = ''] of main.matchAll(IMPORT))
    for (const name of names.split(', ')) files.set(name, file);
  const program = new Command('loam');
  const extension = import.meta.url.endsWith('.ts') ? '.ts' : '.js';
  for (const [, maker = ''] of main.matchAll(ADDED)) {
    const file = files.get(maker);
    if (file === undefined) throw new Error(`cli/main.ts adds ${maker}, and imports it from nowhere`);
    const module = (await import(`../../cli/commands/${file}${extension}`)) as Record<string, () => Command>;
    const make = module[maker];
    if (make === undefined) throw new Error(`cli/commands/${file}.ts has no ${maker}`);
    program.addCommand(make());
  }
  return program;
}

/** A command and those below it, `loam local up` after `loam local`. */
export function withChildren(command: Command): readonly Command[] {
  return [command, ...command.commands.flatMap(withChildren)];
}

/** `loam local up`. */
export function fullName(command: Command): string {
  return command.parent === null ? command.name() : `${fullName(command.parent)} ${command.name()}`;
}

function helpOf(command: Command): string {
  let text = '';
  command.configureOutput({
    writeOut: (part) => (text += part),
    getOutHelpWidth: () => WIDTH,
    getOutHasColors: () => false,
  });
  command.outputHelp();
  // Defaults that are folders of this clone, and the processor that this machine has.
  return text
    .replaceAll(`${packageRoot()}/`, '')
    .replace(/(choices: "amd64", "arm64", default: )"\w+"/, '$1this one');
}

export async function cliPage(): Promise<string> {
  const program = await loamCommands();
  const commands = program.commands.flatMap(withChildren);
  return pageOf(
    'Commands',
    INTRODUCTION,
    ...commands.map((command) => `## ${fullName(command)}\n\n${fence('text', helpOf(command))}`),
  );
}
