import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'mocha';
import { packageRoot } from '../../lib/package-root.ts';

/** Findings of the experiment, by its own numbers. */
const FINDINGS = Array.from({ length: 20 }, (_, i) => `F${i + 1}`);
/** What is not part of Loam yet. */
const LATER = ['F15'];

describe('docs/findings.md', () => {
  const root = packageRoot();
  const text = readFileSync(join(root, 'docs', 'findings.md'), 'utf8');
  const rows = text.split('\n').filter((line) => line.startsWith('| '));
  const testsOf = (row: string): string => row.split('|')[3] ?? '';

  it('names tests that exist, for each finding', () => {
    for (const finding of FINDINGS) {
      const row = rows.find((line) => line.startsWith(`| ${finding} |`));
      assert.ok(row !== undefined, finding);
      if (!LATER.includes(finding))
        assert.match(testsOf(row), /(bpf|mesh|attack|unit|interop|ports)\b/, finding);
    }
    const named = rows.flatMap((row) => [
      ...testsOf(row).matchAll(/(?:bpf|mesh|attack|unit|interop|ports)\/[\w/-]+/g),
    ]);
    assert.ok(named.length > 40);
    for (const [path] of named) assert.ok(existsSync(join(root, 'test', `${path}.test.ts`)), path);
  });

  it('quotes the marks that the tests have', () => {
    for (const row of rows)
      for (const [, file = '', marks = ''] of testsOf(row).matchAll(/((?:bpf|attack)[\w/-]*) \(([^)]*)\)/g)) {
        const path = file === 'attack' ? 'attack/attack' : file;
        const source = readFileSync(join(root, 'test', `${path}.test.ts`), 'utf8');
        for (const [, mark = ''] of marks.matchAll(/`([^`]+)`/g))
          assert.ok(source.includes(mark), `${path} has no test with ${mark}`);
      }
  });
});
