/** The commands of a page of docs/ that are run by a test: fences that begin with "```sh run" or "```sh run until". */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { packageRoot } from '../../lib/package-root.ts';

export interface RunnableStep {
  readonly page: string;
  readonly line: number;
  readonly script: string;
  /** Again until its output is as expected: what a change needs a moment for. */
  readonly until: boolean;
  /** Lines of the fence "```text output" that follows; each is part of what is printed. */
  readonly expected: readonly string[];
}

const STEP = /^```sh run( until)?\n(.*?)^```$(?:\n\n```text output\n(.*?)^```$)?/gms;

/** In the order in which they stand. */
export function stepsOf(page: string): RunnableStep[] {
  const text = readFileSync(join(packageRoot(), 'docs', page), 'utf8');
  return [...text.matchAll(STEP)].map(({ index, 1: until, 2: script = '', 3: output = '' }) => ({
    page,
    line: text.slice(0, index).split('\n').length,
    script,
    until: until !== undefined,
    expected: output.split('\n').filter((line) => line !== ''),
  }));
}
