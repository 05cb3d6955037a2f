import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { packageRoot } from '../../../lib/package-root.ts';
import type { FuzzTarget } from './target.ts';

const FOLDER = join('test', 'fuzz', 'corpus');

/** One target's inputs in the repository. A character of a text is a byte. */
interface CorpusFile {
  /** Each once broke something: what it was, and the input. */
  readonly regressions: readonly { readonly was: string; readonly input: string }[];
  /** Found by coverage. */
  readonly inputs: readonly string[];
}

/** What a target begins with: its seeds, and the corpus of the repository. */
export function knownInputs(target: FuzzTarget): Buffer[] {
  const { regressions, inputs } = readCorpus(target.name);
  return [
    ...target.seeds.map((seed) => Buffer.from(seed as string)),
    ...regressions.map(({ input }) => Buffer.from(input, 'latin1')),
    ...inputs.map((input) => Buffer.from(input, 'latin1')),
  ];
}

/** @throws SyntaxError when the file is none */
export function readCorpus(name: string): CorpusFile {
  const path = corpusPath(name);
  if (!existsSync(path)) return { regressions: [], inputs: [] };
  return JSON.parse(readFileSync(path, 'utf8')) as CorpusFile;
}

/** Replaces the inputs of a target's corpus; regressions stay. */
export function writeCorpus(name: string, inputs: readonly Buffer[]): void {
  const { regressions } = readCorpus(name);
  const texts = inputs.map((input) => input.toString('latin1'));
  // Plain ASCII, so that editors and diffs leave the bytes alone.
  const json = JSON.stringify({ regressions, inputs: texts }, null, 1).replace(
    /[\x7f-\uffff]/g,
    (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );
  writeFileSync(corpusPath(name), `${json}\n`);
}

function corpusPath(name: string): string {
  return join(packageRoot(), FOLDER, `${name}.json`);
}
