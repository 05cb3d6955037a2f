import { Option, type Command } from 'commander';
import { stringify } from 'yaml';
import { printableJson, printableLine } from './printable.ts';

export const FORMATS = ['text', 'json', 'yaml'] as const;
export type Format = (typeof FORMATS)[number];

export interface OutputFlag {
  readonly output: Format;
}

/** Adds `-o`. */
export function withOutput(command: Command): Command {
  return command.addOption(
    new Option('-o, --output <format>', 'text for people; json and yaml for scripts')
      .choices(FORMATS)
      .default('text'),
  );
}

/** Writes all of a text: the command ends right after. */
export function write(text: string): Promise<void> {
  return new Promise((resolve, reject) =>
    process.stdout.write(text, (error) => (error ? reject(error) : resolve())),
  );
}

/** Tells a value in the form that was asked for, without what would steer a terminal. @param lines for people */
export function print(format: Format, value: unknown, lines: () => readonly string[]): Promise<void> {
  switch (format) {
    case 'json':
      return write(`${printableJson(JSON.stringify(value, undefined, 2))}\n`);
    case 'yaml':
      // Without anchors, which scripts seldom read.
      return write(
        printableJson(stringify(JSON.parse(JSON.stringify(value)), { aliasDuplicateObjects: false })),
      );
    case 'text':
      return write(
        lines()
          .map((line) => `${printableLine(line)}\n`)
          .join(''),
      );
  }
}
