import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { packageRoot } from '../../../lib/package-root.ts';
import type { FuzzTarget } from './target.ts';

const FOLDER = join('test', 'fuzz', 'corpus');

/** Before an input that is mostly not text. */
const BASE64 = 'base64,';
/** What an editor shows as it is. */
const TEXT = /^[\n\x20-\x7e]*$/;

/** One target's inputs in the repository: texts as they are, others in base64 after `base64,`. */
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
    ...regressions.map(({ input }) => decoded(input)),
    ...inputs.map(decoded),
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
  writeFileSync(
    corpusPath(name),
    `${JSON.stringify({ regressions, inputs: inputs.map(encoded) }, null, 1)}\n`,
  );
}

/** An input as it stands in a corpus. */
export function encoded(input: Buffer): string {
  const text = input.toString('latin1');
  return TEXT.test(text) && !text.startsWith(BASE64) ? text : BASE64 + input.toString('base64');
}

function decoded(text: string): Buffer {
  return text.startsWith(BASE64)
    ? Buffer.from(text.slice(BASE64.length), 'base64')
    : Buffer.from(text, 'latin1');
}

function corpusPath(name: string): string {
  return join(packageRoot(), FOLDER, `${name}.json`);
}
