import assert from 'node:assert/strict';
import { after, afterEach, before, beforeEach, describe, it } from 'mocha';
import type { Browser, Page } from 'playwright-core';
import { openPage, serveDashboard, startBrowser, type Served } from './support/browser.ts';
import { madeMesh } from './support/made-mesh.ts';

const SERVICES = 300;
const FOCUSED = "document.activeElement?.getAttribute('data-id')";
const PICTURE = `new Promise((resolve) => {
  const look = () => (performance.getEntriesByName('loam-picture').length > 0 ? resolve() : setTimeout(look, 50));
  look();
})`;

describe('the dashboard of a large mesh in a browser', function () {
  this.timeout(600_000);
  let browser: Browser;
  let served: Served;
  let page: Page;
  let complaints: string[];

  before(async () => {
    const { catalog, producers } = madeMesh(SERVICES);
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
  beforeEach(async () => {
    ({ page, complaints } = await openPage(browser, { reducedMotion: 'reduce' }));
    await page.goto(served.address);
    await page.evaluate(PICTURE);
  });
  afterEach(async () => {
    assert.deepEqual(complaints, []);
    await page.close();
  });

  /** Zooms in, and waits for the cards of what is seen. */
  async function zoomIn(): Promise<void> {
    const box = await page.locator('.graph').boundingBox();
    assert.ok(box);
    await page.mouse.move(box.x + box.width * 0.35, box.y + box.height * 0.35);
    // So that some dozens are seen, however many of the turns of the wheel came before the last card was made.
    for (let n = 0; n < 2; n += 1) await page.mouse.wheel(0, -400);
    await page.locator('.node').nth(4).waitFor();
  }

  it('has no elements for what is far away, and cards for what is near', async () => {
    assert.equal(await page.locator('.node').count(), 1, 'the one that the tab key leads to');
    await zoomIn();
    const near = await page.locator('.node').count();
    assert.ok(near > 4 && near <= 102, `${near} cards`);
    await page.click('[aria-label="Show all"]');
    await page.locator('.node').nth(1).waitFor({ state: 'detached' });
  });

  it('paints what has no element', async () => {
    const painted = await page.evaluate<boolean>(`(() => {
      const shown = document.querySelector('.graph canvas');
      const copy = document.createElement('canvas');
      [copy.width, copy.height] = [shown.width, shown.height];
      const context = copy.getContext('2d');
      context.drawImage(shown, 0, 0);
      const { data } = context.getImageData(0, 0, copy.width, copy.height);
      let count = 0;
      for (let at = 3; at < data.length; at += 4) if (data[at] === 255) count += 1;
      return count > 2000;
    })()`);
    assert.ok(painted);
  });

  it('is used by keyboard where no card was, and a click on what is painted chooses it', async () => {
    await page.locator('.node').focus();
    const first = await page.evaluate<string | null>(FOCUSED);
    await page.keyboard.press('ArrowRight');
    const second = await page.evaluate<string | null>(FOCUSED);
    assert.ok(second !== null && second !== first, 'an arrow leads to another node');
    const place = await page.locator(`[data-id="${second}"]`).boundingBox();
    await page.keyboard.press('Enter');
    await page.waitForSelector('.panel');
    assert.equal(await page.locator('.panel h2').textContent(), second?.split('/')[1]);
    await page.keyboard.press('Escape');
    await page.waitForSelector('.panel', { state: 'detached' });
    // The other one has no element any more once the focus is elsewhere.
    await page.keyboard.press('ArrowLeft');
    assert.ok(place);
    await page.mouse.click(place.x + place.width / 2, place.y + place.height / 2);
    await page.waitForSelector('.panel');
    assert.equal(await page.locator('.panel h2').textContent(), second?.split('/')[1]);
  });
});
