import assert from 'node:assert/strict';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { describe, it } from 'mocha';
import { packageRoot } from '../../../lib/package-root.ts';

const docs = join(packageRoot(), 'docs');
const pages = readdirSync(docs, { recursive: true, encoding: 'utf8' }).filter((file) => file.endsWith('.md'));

/** A page's text without what stands in fences. */
function proseOf(page: string): string {
  return readFileSync(join(docs, page), 'utf8').replaceAll(/^```.*?^```$/gms, '');
}

/** As VitePress names headings: lower case, words with hyphens between. */
function anchorsOf(page: string): string[] {
  return [...proseOf(page).matchAll(/^#+ (.*)$/gm)].map(([, title = '']) =>
    title
      .toLowerCase()
      .replaceAll(/[`*]/g, '')
      .replaceAll(/[^a-z0-9]+/g, '-')
      .replaceAll(/^-|-$/g, ''),
  );
}

describe('pages of docs/', () => {
  it('lead somewhere with each link of theirs', () => {
    let links = 0;
    for (const page of pages)
      for (const [, target = ''] of proseOf(page)
        .replaceAll(/`[^`\n]*`/g, '')
        .matchAll(/\]\(([^)\s]+)\)/g)) {
        if (/^https?:/.test(target)) continue;
        links++;
        const [path = '', anchor] = target.split('#');
        const file = path === '' ? page : relative(docs, join(docs, dirname(page), path));
        const found = file.endsWith('/') || !/\.\w+$/.test(file) ? join(file, 'index.md') : file;
        assert.ok(existsSync(join(docs, found)), `${page}: ${target} leads nowhere`);
        if (anchor !== undefined)
          assert.ok(anchorsOf(found).includes(anchor), `${page}: ${found} has no heading #${anchor}`);
      }
    assert.ok(links > 8);
  });

  it('are all in the navigation, decisions by their folder', async () => {
    const { sidebar } = (await import(join(docs, '.vitepress', 'navigation.mjs'))) as {
      sidebar: { items: { link: string }[] }[];
    };
    const linked = sidebar.flatMap(({ items }) => items.map(({ link }) => link));
    const toFile = (link: string): string => `${link.slice(1)}${link.endsWith('/') ? 'index' : ''}.md`;
    assert.deepEqual(linked.map(toFile).sort(), pages.filter((page) => page !== 'index.md').sort());
  });

  it('have nothing that the generator would take for a template', () => {
    for (const page of pages) assert.doesNotMatch(proseOf(page).replaceAll(/`[^`\n]*`/g, ''), /\{\{/, page);
  });

  it('ask for nothing from outside by their pictures', () => {
    for (const page of pages)
      for (const [, source = ''] of proseOf(page).matchAll(/!\[[^\]]*\]\(([^)]+)\)/g))
        assert.ok(existsSync(join(docs, dirname(page), source)), `${page}: ${source}`);
  });
});
