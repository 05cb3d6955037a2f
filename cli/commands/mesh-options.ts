/** What all commands take that look at a mesh. */
import type { Command } from 'commander';
import { DEFAULT_MESH } from '../local/names.ts';
import { LocalReader } from '../mesh/local-reader.ts';
import type { MeshReader } from '../mesh/reader.ts';

/** What was found is not as one would have it: a connection is not allowed, a check does not hold. */
export const EXIT_NO = 3;

export interface MeshOptions {
  readonly name: string;
}

/** Adds what says which mesh. */
export function onMesh(command: Command): Command {
  return command.option('--name <mesh>', 'which mesh, where there are several', DEFAULT_MESH);
}

/** @throws MeshError MESH_STATE when it does not run */
export function openMesh({ name }: MeshOptions): Promise<MeshReader> {
  return LocalReader.open(name);
}

/** The one form of help: examples, then what the exit codes mean. */
export function helpText(
  examples: readonly (readonly [command: string, what: string])[],
  exitCodes: string,
  more = '',
): string {
  const width = Math.max(...examples.map(([command]) => command.length));
  const lines = examples.map(([command, what]) => `  ${command.padEnd(width)}   ${what}`.trimEnd());
  return `${more === '' ? '' : `\n${more}\n`}\nExamples:\n${lines.join('\n')}\n\nExit codes: ${exitCodes}.`;
}
