/**
 * `./loam bench waypoint`: Loam's waypoint beside HAProxy on the same route, both with mutual TLS on both legs, in one
 * run. The same client and backend programs serve both; only the measured program's CPU and memory count. The contenders
 * take turns in each round, each started anew, and the table has medians.
 */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { siblingModule } from '../../lib/package-root.ts';
import { issue, makeAuthority } from './authority.ts';
import { startHaproxy } from './haproxy.ts';
import type { Answer, Command } from './load.ts';
import { LoamWaypoint } from './loam.ts';
import { routePath, type Way } from './plan.ts';
import { cpuSeconds, memoryBytes, Program } from './program.ts';
import { printTable, type Sample } from './table.ts';
import { makeTopology, removeTopology } from './topology.ts';

/** For a garbage collector to do what it does when nothing happens. */
const SETTLE_MS = 3_000;

const { values } = parseArgs({
  options: {
    rounds: { type: 'string', default: '3' },
    'duration-s': { type: 'string', default: '10' },
    connections: { type: 'string', default: '64' },
    idle: { type: 'string', default: '1000' },
    routes: { type: 'string', default: '5,5000' },
    only: { type: 'string', default: 'haproxy,loam' },
  },
});
const rounds = Number(values.rounds);
const seconds = Number(values['duration-s']);
const connections = Number(values.connections);
const idle = Number(values.idle);
const routeCounts = values.routes.split(',').map(Number);
const contenders = values.only.split(',').filter((way) => way === 'haproxy' || way === 'loam');

/** Whether a program that is only needed here is there; it is never started as a service. */
function requireHaproxy(): void {
  try {
    execFileSync('haproxy', ['-v'], { stdio: 'ignore' });
  } catch {
    throw new Error('haproxy is missing: apt-get install haproxy (and keep its service off)');
  }
}

/** The load program, asked one thing at a time. */
class Load {
  readonly #program: Program;
  readonly #answers: AsyncIterator<string>;

  constructor(folder: string) {
    const module = siblingModule(import.meta.url, './load').pathname;
    this.#program = new Program(folder, 'load', 'client', [process.execPath, module, folder], true);
    const { stdout } = this.#program.child;
    if (stdout === null) throw new Error('load has no output');
    this.#answers = createInterface({ input: stdout })[Symbol.asyncIterator]();
  }

  async ask(command: Command): Promise<Answer> {
    this.#program.child.stdin?.write(`${JSON.stringify(command)}\n`);
    const next = await this.#answers.next();
    if (next.done === true) throw new Error(`load ended: ${this.#program.log}`);
    return JSON.parse(next.value) as Answer;
  }

  stop(): Promise<void> {
    return this.#program.stop();
  }
}

/** Waits until the last route leads on, and until what has none does not: only then are all routes in force. */
async function whenRouted(load: Load, program: Program, way: Way, routes: number): Promise<void> {
  const status = async (path: string) => (await load.ask({ do: 'probe', way, path })).status;
  await program.until(
    'the last of its routes',
    async () => (await status(`${routePath(routes - 1)}x`)) === 200,
  );
  await program.until('its routes to be all there is', async () => (await status('/none')) !== 200);
}

async function measure(load: Load, pid: number, way: 'haproxy' | 'loam', routes: number): Promise<Sample> {
  const direct = way === 'haproxy' ? 'direct-tls' : 'direct-hbone';
  const run = (through: Way, count: number, forSeconds: number) =>
    load.ask({ do: 'run', way: through, routes, connections: count, seconds: forSeconds });
  const memoryIdle = memoryBytes(pid);
  // What is made once for each route, its metrics before all, is no part of what a request costs.
  for (let warm = 0; warm < 2 * routes;) {
    const { requests = 0 } = await run(way, connections, Math.min(3, seconds));
    if (requests === 0) throw new Error(`${way} answers nothing`);
    warm += requests;
  }
  const cpuBefore = cpuSeconds(pid);
  const busy = await run(way, connections, seconds);
  const cpu = cpuSeconds(pid) - cpuBefore;
  await run(direct, 1, 1);
  const alone = await run(way, 1, seconds / 2);
  const bare = await run(direct, 1, seconds / 2);
  // Between two numbers of held connections: what the busy phase left free is used up before the first of them.
  const held = await load.ask({ do: 'hold', way, connections: idle });
  await sleep(SETTLE_MS);
  const memoryBefore = memoryBytes(pid);
  const more = await load.ask({ do: 'hold', way, connections: idle });
  await sleep(SETTLE_MS);
  const memoryHeld = memoryBytes(pid);
  await load.ask({ do: 'release' });
  const requests = busy.requests ?? 0;
  return {
    way,
    routes,
    failed: [busy, alone, bare, held, more].reduce((sum, answer) => sum + (answer.failed ?? 0), 0),
    perSecond: requests / (busy.seconds ?? 1),
    perCore: requests / cpu,
    cpuPer1000: (cpu / requests) * 1000,
    p50: busy.p50 ?? 0,
    p99: busy.p99 ?? 0,
    addedP50: (alone.p50 ?? 0) - (bare.p50 ?? 0),
    memoryMiB: memoryIdle / 2 ** 20,
    kibPerIdle: (memoryHeld - memoryBefore) / 1024 / idle,
  };
}

async function once(base: string, way: 'haproxy' | 'loam', routes: number, round: number): Promise<Sample> {
  const folder = mkdtempSync(join(base, `${way}-${routes}-${round}-`));
  const authority = makeAuthority(folder);
  for (const account of ['client', 'waypoint', 'backend']) issue(folder, account);
  const stops: (() => Promise<void>)[] = [];
  try {
    const module = siblingModule(import.meta.url, './backend').pathname;
    const backend = new Program(folder, 'backend', 'backend', [process.execPath, module, folder]);
    stops.push(() => backend.stop());
    await backend.until('readiness', () => backend.log.includes('ready'));
    const load = new Load(folder);
    stops.push(() => load.stop());
    let program: Program;
    if (way === 'haproxy') {
      program = await startHaproxy(folder, routes);
      stops.push(() => program.stop());
    } else {
      const loam = await LoamWaypoint.start(folder, authority, routes);
      program = loam.waypoint;
      stops.push(() => loam.stop());
    }
    await whenRouted(load, program, way, routes);
    return await measure(load, program.pid, way, routes);
  } finally {
    for (const stop of stops.reverse()) await stop();
  }
}

if (contenders.includes('haproxy')) requireHaproxy();
const base = mkdtempSync(join(tmpdir(), 'loam-bench-waypoint-'));
const samples: Sample[] = [];
for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  // Not `once`: a second one must not end it in the middle of this.
  process.on(signal, () => {
    for (const program of Program.running) program.child.kill('SIGTERM');
    removeTopology();
    process.exit(1);
  });
}
makeTopology();
try {
  for (let round = 1; round <= rounds; round++) {
    for (const routes of routeCounts) {
      for (const way of contenders) {
        const sample = await once(base, way, routes, round);
        samples.push(sample);
        console.error(`round ${round}/${rounds} ${JSON.stringify(sample)}`);
      }
    }
  }
  printTable(samples);
  rmSync(base, { recursive: true, force: true });
} catch (error) {
  console.error(`logs are in ${base}`);
  throw error;
} finally {
  removeTopology();
}
