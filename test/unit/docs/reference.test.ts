import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { before, describe, it } from 'mocha';
import { generatedPages } from '../../../docs/generate/pages.ts';
import { packageRoot } from '../../../lib/package-root.ts';
import { PATIENCE } from '../../support/patience.ts';

const root = packageRoot();
const page = (name: string): string => readFileSync(join(root, 'docs', 'reference', name), 'utf8');

describe('docs/reference', function () {
  // The command line brings its libraries with it.
  this.timeout(20_000 * PATIENCE);
  let pages: ReadonlyMap<string, string>;
  before(async () => {
    pages = await generatedPages();
  });

  it('is what the code is: after a change, npm run docs:reference', () => {
    assert.ok(pages.size >= 5);
    for (const [name, text] of pages)
      assert.ok(
        page(name) === text,
        `docs/reference/${name} is not what the code is: npm run docs:reference`,
      );
  });

  it('names every label and annotation that the code reads', () => {
    const text = page('labels.md');
    const words = new Set<string>();
    for (const folder of ['agent', 'controller', 'cli/local', 'cli/waypoints', 'lib'])
      for (const file of readdirSync(join(root, folder), { recursive: true, encoding: 'utf8' })) {
        if (!file.endsWith('.ts')) continue;
        const source = readFileSync(join(root, folder, file), 'utf8');
        for (const [, word = ''] of source.matchAll(
          /= '((?:local\.|istio\.io\/)?[\w.]*loam\.dev\/[a-z.-]+|istio\.io\/dry-run)'/g,
        ))
          words.add(word);
      }
    assert.ok(words.size >= 12, [...words].join());
    for (const word of words)
      if (!OF_THE_PROGRAMS.has(word)) assert.ok(text.includes(`\`${word}`), `labels.md lacks ${word}`);
  });
});

/** What the mesh's programs write for each other, and nobody else. */
const OF_THE_PROGRAMS = new Set(['loam.dev/waypoint', 'loam.dev/guard']);
