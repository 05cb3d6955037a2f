import type { Command } from 'commander';

/** What may be typed after a command: its subcommands, options, and words of its arguments. */
export interface CompletionNode {
  /** Words from the program's name on: `` for the program, `local up`. */
  readonly path: string;
  readonly commands: readonly CompletionWord[];
  readonly options: readonly CompletionOption[];
  readonly words: readonly string[];
}

export interface CompletionWord {
  readonly word: string;
  readonly what: string;
}

export interface CompletionOption extends CompletionWord {
  /** Short form, where there is one. */
  readonly short?: string;
  readonly takesValue: boolean;
  readonly values: readonly string[];
}

/** Reads the whole command line as it is defined. */
export function completionTree(program: Command): CompletionNode[] {
  return nodesOf(program, '');
}

function nodesOf(command: Command, path: string): CompletionNode[] {
  const children = command.commands.filter((each) => each.name() !== 'help');
  const node: CompletionNode = {
    path,
    commands: children.map((each) => ({ word: each.name(), what: oneLine(each.description()) })),
    options: [
      ...command.options
        .filter(({ hidden }) => !hidden)
        .map(({ long, short, description, required, optional, argChoices }) => ({
          word: long ?? short ?? '',
          what: oneLine(description),
          ...(short !== undefined && long !== undefined && { short }),
          takesValue: required || optional,
          values: argChoices ?? [],
        })),
      { word: '--help', short: '-h', what: 'how it is used', takesValue: false, values: [] },
    ],
    words: command.registeredArguments.flatMap(({ argChoices }) => argChoices ?? []),
  };
  return [
    node,
    ...children.flatMap((each) => nodesOf(each, path === '' ? each.name() : `${path} ${each.name()}`)),
  ];
}

function oneLine(text: string): string {
  return text.replaceAll(/\s+/g, ' ').trim();
}
