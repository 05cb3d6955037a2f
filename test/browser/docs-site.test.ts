import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { extname, join } from 'node:path';
import { after, before, describe, it } from 'mocha';
import type { Browser } from 'playwright-core';
import { packageRoot } from '../../lib/package-root.ts';
import { openPage, startBrowser, type Look } from './support/browser.ts';

/** Pictures are kept there, to be looked at. */
const SHOTS = process.env['LOAM_SHOTS'];
const NARROW: Look = { width: 390, height: 844 };
const TYPES: Readonly<Record<string, string>> = {
  '.html': 'text/html',
  '.js': 'text/javascript',
  '.css': 'text/css',
  '.svg': 'image/svg+xml',
  '.webp': 'image/webp',
  '.woff2': 'font/woff2',
};

describe('the documentation as a site, in a browser', function () {
  this.timeout(600_000);
  let folder: string;
  let server: Server;
  let browser: Browser;
  let address: string;
  /** Paths of all pages: `/tasks/canary.html`. */
  let pages: readonly string[];

  before(async () => {
    folder = mkdtempSync(join(tmpdir(), 'loam-site-'));
    const vitepress = join('node_modules', 'vitepress', 'bin', 'vitepress.js');
    const { status, stderr } = spawnSync(process.execPath, [vitepress, 'build', 'docs', '--outDir', folder], {
      cwd: packageRoot(),
      encoding: 'utf8',
    });
    assert.equal(status, 0, stderr);
    pages = readdirSync(folder, { recursive: true, encoding: 'utf8' })
      .filter((file) => file.endsWith('.html') && file !== '404.html')
      .map((file) => `/${file}`);
    server = createServer(({ url = '' }, response) => {
      const path = new URL(url, 'http://site').pathname;
      const file = join(folder, path.endsWith('/') ? `${path}index.html` : path);
      if (!existsSync(file)) return void response.writeHead(404).end();
      response.writeHead(200, { 'content-type': TYPES[extname(file)] ?? 'application/octet-stream' });
      response.end(readFileSync(file));
    }).listen(0, '127.0.0.1');
    await once(server, 'listening');
    address = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    browser = await startBrowser();
  });
  after(async () => {
    await browser.close();
    server.close();
    rmSync(folder, { recursive: true, force: true });
  });

  it('has no link that leads nowhere, to a heading neither', () => {
    const texts = new Map(pages.map((page) => [page, readFileSync(join(folder, page), 'utf8')]));
    const wrong: string[] = [];
    let anchors = 0;
    for (const [page, text] of texts)
      for (const [, target = ''] of text.matchAll(/<a\b[^>]*?\shref="([^"]+)"/g)) {
        const { origin, pathname, hash } = new URL(target, `http://site${page}`);
        if (origin !== 'http://site') continue;
        const found = texts.get(pathname.endsWith('/') ? `${pathname}index.html` : pathname);
        const id = decodeURIComponent(hash.slice(1));
        if (id !== '') anchors++;
        if (found === undefined || (id !== '' && !found.includes(` id="${id}"`)))
          wrong.push(`${page}: ${target}`);
      }
    assert.deepEqual(wrong, []);
    assert.ok(anchors > 100, `${anchors} links to headings`);
  });

  it('loads nothing from elsewhere, shows every picture, and is no wider than a narrow screen, on each page', async () => {
    const { page, complaints } = await openPage(browser, NARROW);
    // Decisions are all alike: one is looked at.
    const decisions = pages.filter((path) => path.startsWith('/decisions/'));
    for (const path of [...pages.filter((each) => !decisions.includes(each)), ...decisions.slice(0, 1)]) {
      await page.goto(address + path, { waitUntil: 'load' });
      const { wide, broken } = await page.evaluate<{ wide: number; broken: string[] }>(`(async () => {
        await Promise.all([...document.images].map((image) => image.decode().catch(() => undefined)));
        return {
          wide: document.documentElement.scrollWidth - document.documentElement.clientWidth,
          broken: [...document.images].filter((i) => i.naturalWidth === 0).map((i) => i.src),
        };
      })()`);
      assert.deepEqual({ path, wide, broken }, { path, wide: 0, broken: [] });
    }
    assert.deepEqual(complaints, []);
    await page.close();
  });

  it('is found by words, also by the name of a metric', async () => {
    const { page, complaints } = await openPage(browser);
    for (const [words, path] of [
      ['canary', '/tasks/canary.html'],
      ['istio_requests_total', '/metrics.html'],
    ] as const) {
      await page.goto(`${address}/start.html`);
      await page.click('.DocSearch-Button');
      await page.fill('.search-input', words);
      await page.locator(`.results a[href^="${path}"]`).first().click();
      await page.waitForURL((url) => url.pathname === path);
    }
    assert.deepEqual(complaints, []);
    await page.close();
  });

  for (const [name, look, dark] of [
    ['light', { colorScheme: 'light' }, false],
    ['dark', { colorScheme: 'dark' }, true],
    ['narrow', NARROW, false],
  ] as const)
    it(`is ${name} where the reader is`, async () => {
      const { page, complaints } = await openPage(browser, look);
      for (const path of ['/', '/concepts/request.html', '/tasks/canary.html', '/reference/kinds.html']) {
        await page.goto(address + path, { waitUntil: 'networkidle' });
        if (SHOTS !== undefined)
          await page.screenshot({ path: join(SHOTS, `docs-${name}${path.replaceAll('/', '-')}.png`) });
      }
      const background = await page.evaluate<string>('getComputedStyle(document.body).backgroundColor');
      assert.equal(background === 'rgb(255, 255, 255)', !dark, background);
      assert.deepEqual(complaints, []);
      await page.close();
    });
});
