import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { after, before, describe, it } from 'mocha';
import type { Browser, Page } from 'playwright-core';
import { PrometheusHistory } from '../../cli/web/prometheus.ts';
import { openPage, serveDashboard, startBrowser, type Served } from './support/browser.ts';
import { POLICY, SmallMesh } from './support/small-mesh.ts';

const SHOTS = process.env['LOAM_SHOTS'];
const FRONTEND = { name: 'frontend', allowed: 100, denied: 0 };
const AUTH = { name: 'auth', allowed: 0, denied: 7 };

/** What a Prometheus answers for every range of time: two points of a line. */
function answerOf(url: string): string {
  const end = Number(new URL(url, 'http://here').searchParams.get('end'));
  const values = [
    [end - 60, '4'],
    [end, '5'],
  ];
  return JSON.stringify({
    status: 'success',
    data: { resultType: 'matrix', result: [{ metric: {}, values }] },
  });
}

describe('pages of the dashboard in a browser', function () {
  this.timeout(600_000);
  const mesh = new SmallMesh();
  let prometheus: Server;
  let browser: Browser;
  let served: Served;

  before(async () => {
    mesh.callers = [FRONTEND, AUTH];
    prometheus = createServer((request, response) => response.end(answerOf(request.url ?? '/')));
    prometheus.listen(0, '127.0.0.1');
    await once(prometheus, 'listening');
    const { port } = prometheus.address() as AddressInfo;
    served = await serveDashboard(
      { producers: () => Promise.resolve([mesh.producer]), catalog: () => Promise.resolve(mesh.catalog) },
      new PrometheusHistory(`http://127.0.0.1:${port}`),
    );
    browser = await startBrowser();
  });
  after(async () => {
    await browser?.close();
    await served?.close();
    prometheus?.closeAllConnections();
    prometheus?.close();
  });

  /** Opens a page, and checks that it complained of nothing. */
  async function at(name: string, hash: string, use: (page: Page) => Promise<void>): Promise<void> {
    const { page, complaints } = await openPage(browser, { reducedMotion: 'reduce' });
    await page.goto(served.address);
    await page.waitForSelector('.node');
    await page.evaluate(`location.hash = ${JSON.stringify(hash)}`);
    await use(page);
    if (SHOTS !== undefined) await page.screenshot({ path: join(SHOTS, `page-${name}.png`) });
    assert.deepEqual(complaints, []);
    await page.close();
  }

  it('a policy: its rules, whom it let in and whom it denied', async () => {
    await at('policy', `#/policies/AuthorizationPolicy/${POLICY}`, async (page) => {
      assert.match((await page.locator('.rules').textContent()) ?? '', /POST \/charge/);
      const [letIn, denied] = [
        page.getByRole('table', { name: 'Let in by it' }),
        page.getByRole('table', { name: 'Denied by it' }),
      ];
      await letIn.locator('tbody tr', { hasText: 'frontend' }).first().waitFor();
      await denied.locator('tbody tr', { hasText: 'auth' }).first().waitFor();
      assert.equal(await letIn.locator('tbody tr', { hasText: 'auth' }).count(), 0);
      assert.equal(await denied.locator('tbody tr', { hasText: 'frontend' }).count(), 0);
    });
  });

  it('a route: the split as configured and as measured', async () => {
    await at('route', '#/routes/HTTPRoute/shop/payments', async (page) => {
      const split = page.locator('.splits li', { hasText: 'shop/payments-v1' });
      await split.getByText('90 % measured').waitFor();
      assert.match((await split.textContent()) ?? '', /80 % configured/);
    });
  });

  it('tap: what passes its filters, which stand in the address', async () => {
    await at('tap', '#/tap', async (page) => {
      const rows = page.locator('table.tap tbody tr');
      await rows.filter({ hasText: 'GET /charges' }).first().waitFor();
      await rows.filter({ hasText: 'POST /charge' }).first().waitFor();
      await page.getByLabel('Verdict').selectOption('denied');
      await rows.filter({ hasText: 'denied' }).first().waitFor();
      assert.equal(await rows.filter({ hasText: 'POST /charge' }).count(), 0);
      assert.match(page.url(), /verdict%3Ddenied/);
      await page.getByLabel('From').fill('shop/frontend');
      await page.getByLabel('From').press('Enter');
      await page.getByText('Waiting for the next one').waitFor();
      await page.getByLabel('Verdict').selectOption('');
      await rows.filter({ hasText: 'POST /charge' }).first().waitFor();
      assert.equal(await rows.filter({ hasText: 'shop/auth-1' }).count(), 0);
    });
  });

  it('a Service: the policies that name it, and no word that there are no others', async () => {
    await at('service', '#/services/shop/payments', async (page) => {
      await page.getByText('of several applications').waitFor();
      await page.getByRole('link', { name: POLICY }).waitFor();
      await page.evaluate("location.hash = '#/services/shop/payments-v1'");
      await page.getByText('none that names it').waitFor();
      assert.equal(await page.getByRole('link', { name: POLICY }).count(), 0);
    });
  });

  it('a Service: hours of it from Prometheus', async () => {
    await at('history', '#/services/shop/payments', async (page) => {
      await page.locator('.history svg').first().waitFor();
      await page.getByRole('button', { name: '7 days' }).click();
      await page.locator('.history [aria-pressed="true"]', { hasText: '7 days' }).waitFor();
      await page.locator('.history svg').first().waitFor();
    });
  });

  it('the time that is shown, and a look back: what was then', async () => {
    await at('replay', '#/', async (page) => {
      await page.getByRole('button', { name: 'Table' }).click();
      const denied = page.locator('tbody tr', { hasText: 'shop/auth' }).first();
      const window = page.getByLabel('Time that is shown');
      await denied.waitFor();
      // Less than two steps of the history cannot be looked back at.
      await page.locator('.replay input:not([disabled])').waitFor();
      mesh.callers = [FRONTEND];
      await window.selectOption('10000');
      await denied.waitFor({ state: 'detached' });
      await window.selectOption('600000');
      await denied.waitFor();
      await window.selectOption('10000');
      await denied.waitFor({ state: 'detached' });
      await page.getByLabel('Moment that is shown').focus();
      await page.keyboard.press('Home');
      await page.keyboard.press('ArrowRight');
      await page.locator('.replay output', { hasText: 'ago' }).waitFor();
      await denied.waitFor();
      await page.getByRole('button', { name: 'Live' }).click();
      await page.locator('.replay output', { hasText: 'kept' }).waitFor();
      await denied.waitFor({ state: 'detached' });
    });
  });
});
