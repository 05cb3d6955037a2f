import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { after, before, describe, it } from 'mocha';
import type { Browser } from 'playwright-core';
import { openPage, serveDashboard, startBrowser, type Look, type Served } from './support/browser.ts';
import { madeMesh } from './support/made-mesh.ts';

const AXE = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');
const SHOTS = process.env['LOAM_SHOTS'];
const FOCUSED = "document.activeElement?.getAttribute('data-id')";
/** A service in the middle of the made-up mesh, with callers and called. */
const MIDDLE = 'team-01/service-012';

interface Violation {
  readonly id: string;
  readonly nodes: readonly { readonly html: string }[];
}

describe('the dashboard in a browser', function () {
  this.timeout(600_000);
  let browser: Browser;
  let served: Served;

  before(async () => {
    const { catalog, producers } = madeMesh(30);
    served = await serveDashboard({
      producers: () => Promise.resolve(producers),
      catalog: () => Promise.resolve(catalog),
    });
    browser = await startBrowser();
  });
  after(async () => {
    await browser?.close();
    await served?.close();
  });

  /** Opens a view, and checks that the page complained of nothing. */
  async function at(
    hash: string,
    look: Look,
    use: (page: Awaited<ReturnType<typeof openPage>>['page']) => Promise<void>,
  ): Promise<void> {
    const { page, complaints } = await openPage(browser, { reducedMotion: 'reduce', ...look });
    await page.goto(served.address);
    await page.waitForSelector('.node');
    assert.ok(!page.url().includes('token'), 'the token does not stay in the address');
    await page.evaluate(`location.hash = ${JSON.stringify(hash)}`);
    await use(page);
    assert.deepEqual(complaints, []);
    await page.close();
  }

  const views: readonly (readonly [name: string, hash: string, sign: string])[] = [
    ['graph', '#/', '.node'],
    ['services', '#/services', 'tbody tr'],
    ['service', `#/services/${MIDDLE}`, '.tiles'],
    ['workload', `#/workloads/${MIDDLE}-1`, 'tbody tr'],
    ['policies', '#/policies', '.empty'],
    ['routes', '#/routes', '.empty'],
    ['tap', '#/tap', 'tbody tr'],
  ];
  const looks = {
    light: { colorScheme: 'light' },
    dark: { colorScheme: 'dark' },
    narrow: { width: 420, height: 860 },
  } as const;

  for (const [look, how] of Object.entries(looks))
    it(`has no barrier that axe knows, ${look}`, async () => {
      for (const [name, hash, sign] of views)
        await at(hash, how, async (page) => {
          await page.waitForSelector(sign);
          if (SHOTS !== undefined) await page.screenshot({ path: join(SHOTS, `${name}-${look}.png`) });
          const found = await page.evaluate<Violation[]>(
            `${AXE}; axe.run(document, { runOnly: ['wcag2a', 'wcag2aa', 'wcag21aa'] }).then((r) => r.violations)`,
          );
          const texts = found.map(({ id, nodes }) => `${id}: ${nodes.map(({ html }) => html).join(' ')}`);
          assert.deepEqual(texts, [], name);
        });
    });

  it('is used by keyboard alone: to a node, to the next, into its panel, and out', async () => {
    await at('#/', {}, async (page) => {
      await page.locator('.node[tabindex="0"]').first().focus();
      const first = await page.evaluate<string | null>(FOCUSED);
      await page.keyboard.press('ArrowRight');
      const second = await page.evaluate<string | null>(FOCUSED);
      assert.ok(second !== null && second !== first, 'an arrow leads to another node');
      await page.keyboard.press('Enter');
      await page.waitForSelector('.panel');
      const title = await page.locator('.panel h2').textContent();
      assert.equal(title, second?.split('/')[1]);
      await page.keyboard.press('Escape');
      await page.waitForSelector('.panel', { state: 'detached' });
    });
  });

  it('shows identities and policy of a call on a click', async () => {
    await at('#/', {}, async (page) => {
      await page.click(`[data-id="${MIDDLE}"]`);
      await page.locator('.edges .row').first().click();
      const panel = page.locator('.panel');
      await panel.locator('.identities li').first().waitFor();
      assert.match((await panel.textContent()) ?? '', /mutual TLS/);
      assert.match((await panel.locator('.identities').textContent()) ?? '', /team-01\/service-012/);
      assert.match((await panel.textContent()) ?? '', /team-01\/callers/);
      if (SHOTS !== undefined) await page.screenshot({ path: join(SHOTS, 'edge-light.png') });
    });
  });

  it('says what is the matter where the token is missing', async () => {
    const { page } = await openPage(browser);
    await page.goto(served.address.split('#')[0] ?? '');
    await page.waitForSelector('.trouble');
    assert.match((await page.locator('.trouble').textContent()) ?? '', /has no key/);
    assert.equal(await page.locator('.node').count(), 0);
    await page.close();
  });
});
