/**
 * Takes the pictures of docs/pictures/dashboard: starts the demo, waits until the dashboard shows all of it, and takes each page. `npm
 * run docs:pictures` runs it, as root; Chromium writes WebP itself.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Page } from 'playwright-core';
import { localCatalogs } from '../../cli/observe/local-catalog.ts';
import { localProducers } from '../../cli/observe/local-producers.ts';
import { runningMesh } from '../../cli/local/up.ts';
import { packageRoot } from '../../lib/package-root.ts';
import { openPage, serveDashboard, startBrowser, type Look } from './support/browser.ts';

const MESH = 'pictures';
/** A minute is shown, which is to have nothing in it of the start, when calls fail. */
const WARM_UP_MS = 95_000;
const START_MS = 120_000;
const LARGEST = 65_000;
const OUT = join(packageRoot(), 'docs', 'pictures', 'dashboard');

interface Picture {
  readonly name: string;
  readonly hash: string;
  readonly sign: string;
  readonly look?: Look;
  readonly before?: (page: Page) => Promise<void>;
}

const LIGHT: Look = { width: 1280, height: 800 };
const NARROW: Look = { width: 420, height: 860 };

/** Chooses the call between two nodes by the panel of the first. */
const call =
  (from: string, to: string) =>
  async (page: Page): Promise<void> => {
    await page.click(`[data-id="${from}"]`);
    await page.locator('.edges .row', { hasText: to }).first().click();
    await page.locator('.identities li').first().waitFor();
  };

const PICTURES: readonly Picture[] = [
  { name: 'graph', hash: '#/', sign: '.node', look: LIGHT },
  { name: 'graph-dark', hash: '#/', sign: '.node', look: { ...LIGHT, colorScheme: 'dark' } },
  { name: 'graph-narrow', hash: '#/', sign: '.node', look: NARROW },
  { name: 'call', hash: '#/', sign: '.node', look: LIGHT, before: call('shop/frontend', 'shop/payments') },
  { name: 'service', hash: '#/services/shop/auth', sign: '.tiles', look: LIGHT },
  {
    name: 'policy',
    hash: '#/policies',
    sign: 'tbody tr',
    look: LIGHT,
    before: (page) => follow(page, 'database-only'),
  },
  { name: 'route', hash: '#/routes', sign: 'tbody tr', look: LIGHT, before: (page) => follow(page, 'shop/') },
  { name: 'tap', hash: '#/tap', sign: 'tbody tr:nth-child(12)', look: { ...LIGHT, colorScheme: 'dark' } },
];

async function follow(page: Page, name: string): Promise<void> {
  await page.locator('tbody a', { hasText: name }).first().click();
  await page.waitForSelector('.page-head .badge');
}

async function take(page: Page, { name }: Picture): Promise<void> {
  const session = await page.context().newCDPSession(page);
  for (let quality = 82; ; quality -= 12) {
    const { data } = await session.send('Page.captureScreenshot', { format: 'webp', quality });
    const bytes = Buffer.from(data, 'base64');
    if (bytes.length > LARGEST && quality > 30) continue;
    writeFileSync(join(OUT, `${name}.webp`), bytes);
    console.log(`${name}.webp: ${bytes.length} bytes`);
    return;
  }
}

const demo = spawn(
  process.execPath,
  [join(packageRoot(), 'cli', 'main.ts'), 'demo', '--name', MESH, '--seconds', '600'],
  { stdio: ['ignore', 'ignore', 'inherit'] },
);
const ended = once(demo, 'exit');
try {
  const deadline = Date.now() + START_MS;
  while ((await runningMesh(MESH)) === undefined) {
    if (Date.now() > deadline || demo.exitCode !== null) throw new Error('the demo did not start');
    await sleep(500);
  }
  const served = await serveDashboard({
    producers: () => localProducers(MESH),
    catalog: localCatalogs(MESH),
  });
  const browser = await startBrowser();
  await sleep(WARM_UP_MS);
  const wanted = process.argv.slice(2);
  for (const picture of PICTURES) {
    if (wanted.length > 0 && !wanted.includes(picture.name)) continue;
    const { page, complaints } = await openPage(browser, { reducedMotion: 'reduce', ...picture.look });
    await page.goto(served.address);
    await page.evaluate(`location.hash = ${JSON.stringify(picture.hash)}`);
    await page.waitForSelector(picture.sign);
    await picture.before?.(page);
    await sleep(2_500);
    await take(page, picture);
    for (const complaint of complaints) console.log(`${picture.name}: the page complains: ${complaint}`);
    await page.close();
  }
  await browser.close();
  await served.close();
} finally {
  demo.kill('SIGINT');
  await ended;
}
