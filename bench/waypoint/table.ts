/** What was measured once, of one contender with so many routes. */
export interface Sample {
  readonly way: 'haproxy' | 'loam';
  readonly routes: number;
  /** Requests of all phases that were lost or not answered with 200. */
  readonly failed: number;
  readonly perSecond: number;
  /** Requests for each second of CPU that the proxy used: what one core of its own would carry. */
  readonly perCore: number;
  /** Seconds. */
  readonly cpuPer1000: number;
  /** Microseconds, under full load. */
  readonly p50: number;
  readonly p99: number;
  /** Microseconds on one connection, beyond the same client and backend without the proxy. */
  readonly addedP50: number;
  /** Before any load. */
  readonly memoryMiB: number;
  readonly kibPerIdle: number;
}

type Figure = Exclude<keyof Sample, 'way' | 'routes'>;

const COLUMNS: readonly [title: string, figure: Figure, digits: number][] = [
  ['req/s', 'perSecond', 0],
  ['req/s per core', 'perCore', 0],
  ['CPU s/1,000', 'cpuPer1000', 3],
  ['p50 us', 'p50', 0],
  ['p99 us', 'p99', 0],
  ['added p50 us', 'addedP50', 0],
  ['MiB', 'memoryMiB', 1],
  ['KiB/idle conn', 'kibPerIdle', 1],
  ['failed', 'failed', 0],
];
/** Issue 4, "Shown by" 6. */
const MIN_OF_HAPROXY = 0.2;
const MAX_ROUTES_LOSS = 0.1;

/** Prints medians of the rounds as a table, and below it the two figures that have a target. */
export function printTable(samples: readonly Sample[]): void {
  const sets = new Map<string, Sample[]>();
  for (const sample of samples) {
    const key = `${sample.way} ${sample.routes}`;
    sets.set(key, [...(sets.get(key) ?? []), sample]);
  }
  const rows = [...sets].map(([key, set]) => [
    ...key.split(' '),
    ...COLUMNS.map(([, figure, digits]) => median(set.map((s) => s[figure])).toFixed(digits)),
  ]);
  const table = [['contender', 'routes', ...COLUMNS.map(([title]) => title)], ...rows];
  const widths = (table[0] ?? []).map((_, i) => Math.max(...table.map((row) => row[i]?.length ?? 0)));
  for (const row of table) console.log(row.map((cell, i) => cell.padStart(widths[i] ?? 0)).join('  '));

  const perCore = (way: string, routes: number): number =>
    median((sets.get(`${way} ${routes}`) ?? []).map((s) => s.perCore));
  const counts = [...new Set(samples.map((s) => s.routes))].sort((a, b) => a - b);
  for (const routes of counts) {
    const ratio = perCore('loam', routes) / perCore('haproxy', routes);
    if (Number.isFinite(ratio)) {
      console.log(
        `of HAProxy per core, ${routes} routes: ${ratio.toFixed(2)} (target at least ${MIN_OF_HAPROXY})`,
      );
    }
  }
  const [few, many] = [counts[0] ?? 0, counts.at(-1) ?? 0];
  const loss = 1 - perCore('loam', many) / perCore('loam', few);
  if (few !== many && Number.isFinite(loss)) {
    console.log(
      `Loam, ${many} routes against ${few}: ${(loss * 100).toFixed(1)} % slower per core (target at most ${MAX_ROUTES_LOSS * 100} %)`,
    );
  }
}

/** NaN of none. */
function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  const upper = sorted[middle] ?? NaN;
  return sorted.length % 2 === 1 ? upper : (upper + (sorted[middle - 1] ?? NaN)) / 2;
}
