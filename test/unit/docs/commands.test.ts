import assert from 'node:assert/strict';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Command } from 'commander';
import { before, describe, it } from 'mocha';
import { fullName, loamCommands, withChildren } from '../../../docs/generate/cli-page.ts';
import { packageRoot } from '../../../lib/package-root.ts';
import { PATIENCE } from '../../support/patience.ts';

const root = packageRoot();
const docs = join(root, 'docs');
/** Pages of decisions tell of their time, and are not held to the present. */
const pages = readdirSync(docs, { recursive: true, encoding: 'utf8' }).filter(
  (file) => file.endsWith('.md') && !file.startsWith('decisions/') && file !== 'reference/cli.md',
);
const textOf = (page: string): string => readFileSync(join(docs, page), 'utf8');

/** What stands in fences and between backticks. */
function codeOf(text: string): string[] {
  const fences = [...text.matchAll(/^ *```\w*[^\n]*\n(.*?)^ *```$/gms)].map(([, inner = '']) => inner);
  const inline = [...text.replaceAll(/^ *```.*?^ *```$/gms, '').matchAll(/`([^`\n]+)`/g)].map(
    ([, inner = '']) => inner,
  );
  return [...fences.flatMap((fence) => fence.replaceAll('\\\n', ' ').split('\n')), ...inline];
}

describe('what pages of docs/ name', function () {
  this.timeout(20_000 * PATIENCE);
  let byName: ReadonlyMap<string, Command>;
  before(async () => {
    const all = withChildren(await loamCommands());
    byName = new Map(all.map((command) => [fullName(command), command]));
  });

  it('are commands that there are, with flags that they have', () => {
    let found = 0;
    for (const page of pages)
      for (const line of codeOf(textOf(page)))
        for (const [, text = ''] of line.matchAll(/(?:^|[;(|])\s*(?:\.\/)?loam ([a-z][^#|;&]*)/g)) {
          const words = text.trim().split(/\s+/);
          const ours = words.includes('--') ? words.slice(0, words.indexOf('--')) : words;
          const deepest = [2, 1]
            .map((n) => ['loam', ...ours.slice(0, n)].join(' '))
            .find((n) => byName.has(n));
          assert.ok(deepest !== undefined, `${page}: there is no command loam ${text}`);
          const known = byName.get(deepest)?.options.flatMap(({ long, short }) => [long, short]) ?? [];
          for (const word of ours.filter((each) => /^--?[a-z]/.test(each)))
            assert.ok(
              [...known, '--help'].includes(word.split('=')[0]),
              `${page}: ${deepest} has no ${word}, in: ${line}`,
            );
          found++;
        }
    assert.ok(found > 60, String(found));
  });

  it('are files that there are', () => {
    let found = 0;
    for (const page of pages)
      for (const text of codeOf(textOf(page)))
        for (const [path] of text.matchAll(
          /(?<![\w/.-])(?:docs|deploy|test|proto|cli|bpf|bench)\/[\w./-]*\w/g,
        )) {
          assert.ok(existsSync(join(root, path)), `${page}: there is no ${path}`);
          found++;
        }
    assert.ok(found > 20, String(found));
  });
});
