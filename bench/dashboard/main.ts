/**
 * The dashboard's graph of many generated services in a real Chromium: `node bench/dashboard/main.ts [SERVICES]`. Says the time from opening the
 * page to the first picture of the graph, and how long frames take while the graph is dragged about and zoomed.
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

const services = Number(process.argv[2] ?? 500);
const { catalog, producers } = madeMesh(services);
const served = await serveDashboard({
  producers: () => Promise.resolve(producers),
  catalog: () => Promise.resolve(catalog),
});
const browser = await startBrowser();
const [pictures, frames]: [number[], number[]] = [[], []];
for (let round = 0; round < ROUNDS; round += 1) {
  const { page, complaints } = await openPage(browser);
  await page.goto(served.address);
  await page.waitForSelector('.node');
  pictures.push(await page.evaluate<number>("performance.getEntriesByName('loam-picture')[0].startTime"));
  frames.push(...(await page.evaluate<number[]>(DRAG)));
  for (const complaint of complaints) console.log(`the page complains: ${complaint}`);
  await page.close();
}
const sorted = (list: number[]): number[] => [...list].sort((a, b) => a - b);
const share = (list: number[], q: number): string =>
  (sorted(list)[Math.floor(list.length * q)] ?? 0).toFixed(1);
console.log(`${services} services, ${ROUNDS} rounds, ${FRAMES} frames each while dragged and zoomed`);
console.log(`first picture after navigation, ms: ${sorted(pictures).map(Math.round).join(', ')}`);
console.log(
  `frame time, ms: p50 ${share(frames, 0.5)}, p95 ${share(frames, 0.95)}, p99 ${share(frames, 0.99)}`,
);
await browser.close();
await served.close();
