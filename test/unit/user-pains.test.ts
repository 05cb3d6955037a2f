import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'mocha';
import { packageRoot } from '../../lib/package-root.ts';

/** Those that issue 6 asks for, by the numbers of the list that it names. */
const PAINS = [1, 2, 3, 4, 5, 11, 12, 13, 22, 23, 24];
const FILE = /([\w/-]+\/[\w-]+) \(((?:`[^`]+`(?:, )?)+)\)/g;

describe('docs/user-pains.md', () => {
  const root = packageRoot();
  const rows = readFileSync(join(root, 'docs', 'user-pains.md'), 'utf8').split('\n');

  for (const pain of PAINS)
    it(`quotes tests that exist, of line ${pain}`, () => {
      const row = rows.find((line) => line.startsWith(`| ${pain} |`));
      const named = [...(row?.split('|')[4] ?? '').matchAll(FILE)];
      assert.ok(named.length > 1, 'it names some');
      for (const [, file = '', titles = ''] of named) {
        const path = join(root, 'test', `${file}.test.ts`);
        assert.ok(existsSync(path), path);
        const source = readFileSync(path, 'utf8').replaceAll('\\', '');
        for (const [, title = ''] of titles.matchAll(/`([^`]+)`/g))
          assert.ok(source.includes(title), `${file} has no test of which the title says ${title}`);
      }
    });
});
