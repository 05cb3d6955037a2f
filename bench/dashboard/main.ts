/**
 * The dashboard's graph of many generated services in a real Chromium: `node bench/dashboard/main.ts [SERVICES]`. Says the time from opening the
 * page to the first picture of the graph, how long frames take while the graph is dragged about and zoomed and while it is only
 * updated, and what the page's main thread had to do in that time.
 */
import { openPage, serveDashboard, startBrowser } from '../../test/browser/support/browser.ts';
import { madeMesh } from '../../test/browser/support/made-mesh.ts';

const ROUNDS = 3;
const FRAMES = 120;

/** Drags the graph a step in each frame, and notes how long each took. */
const DRAG = `new Promise((resolve) => {
  const graph = document.querySelector('.graph');
  const fire = (type, x, y) => graph.dispatchEvent(new PointerEvent(type, { bubbles: true, pointerId: 1, button: 0, clientX: x, clientY: y }));
  graph.setPointerCapture = () => undefined;
  const times = [];
  let before = performance.now();
  let n = 0;
  fire('pointerdown', 700, 450);
  const step = (now) => {
    times.push(now - before);
    before = now;
    n += 1;
    if (n > ${FRAMES}) { fire('pointerup', 700, 450); resolve(times.slice(1)); return; }
    if (n % 3 === 0) graph.dispatchEvent(new WheelEvent('wheel', { bubbles: true, cancelable: true, deltaY: n < ${FRAMES / 2} ? -30 : 30, clientX: 700, clientY: 450 }));
    else fire('pointermove', 700 + Math.sin(n / 8) * 200, 450 + Math.cos(n / 8) * 120);
    requestAnimationFrame(step);
  };
  requestAnimationFrame(step);
})`;

/** Waits for the first picture. */
const PICTURE = `new Promise((resolve) => {
  const look = () => (performance.getEntriesByName('loam-picture').length > 0 ? resolve() : setTimeout(look, 50));
  look();
})`;

/** Waits for frames while the page takes over news. */
const WATCH = `new Promise((resolve) => {
  const times = [];
  let before = performance.now();
  const end = before + 4_000;
  const step = (now) => {
    times.push(now - before);
    before = now;
    if (now > end) resolve(times.slice(1));
    else requestAnimationFrame(step);
  };
  requestAnimationFrame(step);
})`;

const services = Number(process.argv[2] ?? 500);
const { catalog, producers } = madeMesh(services);
const served = await serveDashboard({
  producers: () => Promise.resolve(producers),
  catalog: () => Promise.resolve(catalog),
});
const browser = await startBrowser();
const [pictures, frames, updates]: [number[], number[], number[]] = [[], [], []];
let busy = 0;
for (let round = 0; round < ROUNDS; round += 1) {
  const { page, complaints } = await openPage(browser);
  await page.goto(served.address);
  await page.evaluate(PICTURE);
  pictures.push(await page.evaluate<number>("performance.getEntriesByName('loam-picture')[0].startTime"));
  const session = await page.context().newCDPSession(page);
  await session.send('Performance.enable', { timeDomain: 'threadTicks' });
  updates.push(...(await page.evaluate<number[]>(WATCH)));
  frames.push(...(await page.evaluate<number[]>(DRAG)));
  const { metrics } = await session.send('Performance.getMetrics');
  busy += metrics.find(({ name }) => name === 'TaskDuration')?.value ?? 0;
  for (const complaint of complaints) console.log(`the page complains: ${complaint}`);
  await page.close();
}
const sorted = (list: number[]): number[] => [...list].sort((a, b) => a - b);
const share = (list: number[], q: number): string =>
  (sorted(list)[Math.floor(list.length * q)] ?? 0).toFixed(1);
console.log(`${services} services, ${ROUNDS} rounds, ${FRAMES} frames each while dragged and zoomed`);
console.log(`first picture after navigation, ms: ${sorted(pictures).map(Math.round).join(', ')}`);
for (const [what, list] of [
  ['while dragged and zoomed', frames],
  ['while only updated', updates],
] as const)
  console.log(
    `frame time ${what}, ms: p50 ${share(list, 0.5)}, p95 ${share(list, 0.95)}, p99 ${share(list, 0.99)}`,
  );
console.log(
  `main thread of the page: ${(busy / ROUNDS).toFixed(2)} s of CPU in a round, the loading included`,
);
await browser.close();
await served.close();
