import { existsSync } from 'node:fs';
import { chromium, type Browser, type Page } from 'playwright-core';
import { dashboardApi } from '../../../cli/web/api.ts';
import { pageFiles } from '../../../cli/web/page-files.ts';
import type { PrometheusHistory } from '../../../cli/web/prometheus.ts';
import { DashboardServer } from '../../../cli/web/server.ts';
import { Observatory, type ObservatoryOptions } from '../../../cli/observe/observatory.ts';

/** Debian's, of the package chromium. */
const CHROMIUM = '/usr/bin/chromium';
/** For a machine that has much else to do. */
const TIMEOUT_MS = 120_000;

/** Starts a real Chromium. @throws Error when there is none */
export async function startBrowser(): Promise<Browser> {
  if (!existsSync(CHROMIUM)) throw new Error(`${CHROMIUM} is missing: apt-get install chromium`);
  // Root has no sandbox of its own there; what it opens is our own page alone.
  return chromium.launch({ executablePath: CHROMIUM, args: ['--no-sandbox'], timeout: TIMEOUT_MS });
}

/** A page, and all that it complained of. */
export interface WatchedPage {
  readonly page: Page;
  readonly complaints: string[];
}

export interface Look {
  readonly width?: number;
  readonly height?: number;
  readonly colorScheme?: 'light' | 'dark';
  readonly reducedMotion?: 'reduce' | 'no-preference';
}

export async function openPage(browser: Browser, look: Look = {}): Promise<WatchedPage> {
  const { width = 1440, height = 900, colorScheme = 'light', reducedMotion = 'no-preference' } = look;
  const page = await browser.newPage({ viewport: { width, height }, colorScheme, reducedMotion });
  page.setDefaultTimeout(TIMEOUT_MS);
  page.setDefaultNavigationTimeout(TIMEOUT_MS);
  const complaints: string[] = [];
  page.on('console', (message) => {
    if (['error', 'warning'].includes(message.type())) complaints.push(message.text());
  });
  page.on('pageerror', (error) => complaints.push(error.message));
  page.on('request', (request) => {
    const { protocol, hostname } = new URL(request.url());
    if (protocol !== 'data:' && hostname !== '127.0.0.1') complaints.push(`asked ${request.url()}`);
  });
  return { page, complaints };
}

export interface Served {
  readonly address: string;
  close(): Promise<void>;
}

/** The dashboard of whatever is observed, as the command serves it. @param history of a Prometheus, where there is one */
export async function serveDashboard(
  options: ObservatoryOptions,
  history?: PrometheusHistory,
): Promise<Served> {
  const observatory = new Observatory(options);
  const server = new DashboardServer({
    port: 0,
    files: pageFiles(),
    api: dashboardApi(observatory, history),
  });
  await observatory.start();
  const address = await server.start();
  return {
    address,
    close: async () => {
      observatory.close();
      await server.close();
    },
  };
}
