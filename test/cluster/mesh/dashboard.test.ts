import assert from 'node:assert/strict';
import { spawn, type ChildProcess } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Browser, Page } from 'playwright-core';
import { openPage, startBrowser } from '../../browser/support/browser.ts';
import { TestCluster, type TestPod } from '../support/cluster.ts';
import { installed } from '../support/installation.ts';
import { greeted, MAIN, viewerKubeconfig } from '../support/look.ts';

/** With this, its pictures are kept there. */
const SHOTS = process.env['LOAM_SHOTS'];

describe('the dashboard of a cluster, in a browser', function () {
  this.timeout(600_000);
  const cluster = TestCluster.open();
  const ns = 'seen';
  const folder = mkdtempSync(join(tmpdir(), 'loam-seen-'));
  const objects = greeted(ns);
  let browser: Browser;
  let calls: ChildProcess;

  before(async () => {
    await installed(cluster);
    await cluster.apply(...objects);
    const [[client]] = (await Promise.all([
      cluster.readyPods(ns, 'app=client'),
      cluster.readyPods(ns, 'app=server'),
    ])) as [[TestPod], TestPod[]];
    const dial = `const net = require('node:net');
      const call = (port) => { const s = net.connect({ host: 'server.${ns}', port });
        s.on('error', () => undefined).on('connect', () => s.write('GET / HTTP/1.0\\r\\n\\r\\n')).resume(); };
      setInterval(() => { call(80); call(7000); }, 200);`;
    calls = cluster.startInPod(client, ['/usr/local/bin/node', '-e', dial]);
    browser = await startBrowser();
  });
  after(async () => {
    calls?.kill();
    await browser?.close();
    await cluster.remove(...objects);
    rmSync(folder, { recursive: true, force: true });
  });

  /** Opens the dashboard of a user, and checks that the page complained of nothing. */
  async function asUser(
    args: readonly string[],
    use: (
      page: Page,
      at: (hash: string) => Promise<void>,
      shot: (name: string) => Promise<void>,
    ) => Promise<void>,
  ): Promise<void> {
    const dashboard = spawn(process.execPath, [MAIN, 'dashboard', ...args]);
    let said = '';
    dashboard.stdout.on('data', (part: Buffer) => (said += part.toString()));
    dashboard.stderr.on('data', (part: Buffer) => (said += part.toString()));
    const address = (): string | undefined => /http:\/\/\S+/.exec(said)?.[0];
    try {
      await cluster.until('it says where it is', () => {
        assert.equal(dashboard.exitCode, null, said);
        return Promise.resolve(address() !== undefined);
      });
      const { page, complaints } = await openPage(browser, { reducedMotion: 'reduce' });
      await page.goto(address() ?? '');
      await use(
        page,
        async (hash) => void (await page.evaluate(`location.hash = ${JSON.stringify(hash)}`)),
        async (name) => {
          if (SHOTS !== undefined) await page.screenshot({ path: join(SHOTS, `cluster-${name}.png`) });
        },
      );
      assert.deepEqual(complaints, []);
      await page.close();
    } finally {
      dashboard.kill();
    }
  }

  it('shows who may see all the calls, who proved what, and the rule that denies', async () => {
    await asUser(['--kubeconfig', cluster.kubeconfig], async (page, at, shot) => {
      await page.waitForSelector(`[data-id="${ns}/client"]`);
      await page.waitForSelector(`[data-id="${ns}/server"]`);
      const shown = await page.locator('.chip').allTextContents();
      assert.ok(!shown.includes('kube-system'), 'what has nothing to do with the mesh is not drawn');
      await shot('graph');
      await page.click(`[data-id="${ns}/server"]`);
      await page.locator('.edges .row').first().click();
      const panel = page.locator('.panel');
      await panel.locator('.identities li').first().waitFor();
      const text = (await panel.textContent()) ?? '';
      assert.match(text, /mutual TLS/);
      assert.match(text, new RegExp(`${ns}/no-greeting`));
      await shot('edge');
      await at(`#/services/${ns}/server`);
      await page.waitForSelector('.tiles');
      await shot('service');
      await at(`#/policies/AuthorizationPolicy/${ns}/no-greeting`);
      await page.waitForSelector('tbody tr');
      await shot('policy');
      await at('#/tap');
      await page.waitForSelector('tbody tr');
      await page.locator('tbody tr', { hasText: 'no-greeting' }).first().waitFor();
      await shot('tap');
      await at('#/workloads');
      await page.waitForSelector('tbody tr');
      await shot('workloads');
    });
  });

  it('shows who may see one namespace what is in it, and says what is left out and why', async () => {
    const kubeconfig = join(folder, 'viewer');
    await viewerKubeconfig(cluster, ns, kubeconfig);
    await asUser(['--kubeconfig', kubeconfig, '-n', ns], async (page, at, shot) => {
      const pulse = page.locator('.pulse');
      await pulse.locator('summary', { hasText: /problem|silent/ }).click();
      const problems = pulse.locator('li');
      await problems
        .filter({ hasText: `only those of ${ns} are shown` })
        .first()
        .waitFor();
      await page.locator('.trouble', { hasText: /none are shown: .*no right to list pods/ }).waitFor();
      await shot('few-rights');
      await at('#/services');
      await page.locator('tbody tr', { hasText: `${ns}/server` }).waitFor();
      const rows = await page.locator('tbody tr').allTextContents();
      assert.deepEqual(
        rows.filter((row) => !row.includes(`${ns}/`)),
        [],
      );
      await shot('few-rights-services');
      await at('#/');
      await page.waitForSelector('main');
      await shot('few-rights-graph');
    });
  });
});
