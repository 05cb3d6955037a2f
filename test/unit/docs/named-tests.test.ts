import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'mocha';
import { packageRoot } from '../../../lib/package-root.ts';

/** `mesh/crash (\`no byte went in the clear\`)`: a file below test/, and parts of titles in it. */
const NAMED = /\b((?:attack|bpf|cluster|interop|mesh|ports|unit|upgrade)\/[\w/-]+)(?: \(([^)]*)\))?/g;

/** With the same quotes and without line breaks inside of titles, however a file is formatted. */
function plain(text: string): string {
  return text.replaceAll('’', "'").replaceAll("\\'", "'");
}

describe('pages that say which test shows what', () => {
  it('user-pains names tests that there are, by their titles', () => {
    const page = readFileSync(join(packageRoot(), 'docs', 'user-pains.md'), 'utf8');
    let titles = 0;
    for (const [, file = '', told = ''] of page.matchAll(NAMED)) {
      const path = join(packageRoot(), 'test', `${file}.test.ts`);
      assert.ok(existsSync(path), `test/${file}.test.ts is not there`);
      const text = plain(readFileSync(path, 'utf8'));
      for (const [, title = ''] of told.matchAll(/`([^`]+)`/g)) {
        titles++;
        assert.ok(text.includes(plain(title)), `test/${file}.test.ts has no test ${title}`);
      }
    }
    assert.ok(titles > 25, `${titles} titles`);
  });
});
