/**
 * A whole controller process in a large cluster, with many connected nodes: its memory, the time from a node's connection to all that
 * it is told, and from one pod's change at the API server to its receipt by every node. The API server is a stand-in (cluster.ts)
 * over real HTTPS, the nodes are light clients (nodes.ts) over real TLS. The controller is the built one (dist/) where there is one.
 *
 * At the end three real ztunnels are started, one after the other: one that needs nothing, one that needs 200 Services, and one that
 * follows the whole mesh. What is needed is told to it as the ztunnel before it would leave it, by a stand-in for the agent.
 *
 * Everything shares one machine, and the clients stand for a hundred others. So beside each time stands the processor time that
 * the controller took meanwhile (of all its threads, and of its main thread alone, which is what others wait for), and what the
 * stand-ins took: on a machine that is short of processors a time says how long they waited for each other.
 *
 * `node bench/kubernetes/controller.ts [services] [pods] [nodes] [changes]`, by default 10,000, 20,000, 100 and 200;
 * `BENCH_LOG=FILE` keeps the controller's log, `BENCH_PROFILE=FOLDER` has it write a processor profile there.
 */
import { type ChildProcess, fork, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createWriteStream, existsSync, readFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { request } from 'node:http';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import type { KubeAccess } from '../../lib/kubernetes/access.ts';
import { NAMESPACES } from './cluster-size.ts';
import type { Connect, Told } from './nodes.ts';
import { ztunnelMemory } from './ztunnels.ts';

const [services = 10_000, pods = 20_000, nodes = 100, changes = 200] = process.argv.slice(2).map(Number);
/** The first node has one of its own. */
const NODE_PROCESSES = 4;
/** Between two changes. */
const PACE_MS = 100;
const GIVE_UP_MS = 600_000;
const SETTLE_MS = 3_000;
/** Services that a node needs which asks for what it needs. */
const NEEDED = 200;

const dir = await mkdtemp(join(tmpdir(), 'loam-bench-'));
const status = join(dir, 'controller.sock');
const started: ChildProcess[] = [];
const told: Told[] = [];
const nodeProcesses: ChildProcess[] = [];
/** By what was done meanwhile. */
const spentOn: Record<string, Spent> = {};
process.on('exit', () => started.forEach((child) => child.kill()));

const cluster = start('cluster.ts', [String(services), String(pods)]);
const { access } = await answer<{ access: KubeAccess }>(cluster);
const port = await freePort();
const began = performance.now();
const controller = startController(access, port);
const cpu = stopwatch();
cpu.start();
await until('the controller to be ready', async () => (await get('/healthz/ready')) !== undefined);
const readyMs = performance.now() - began;
spentOn.start = cpu.stop();
const rssReady = rssMb();
cluster.send('root');
const { root: rootPem } = await answer<{ root: string }>(cluster);

const names = Array.from({ length: nodes }, (_, n) => `node-${n}`);
const groups = [
  names.slice(0, 1),
  ...Array.from({ length: NODE_PROCESSES }, (_, p) =>
    names.slice(1).filter((_, n) => n % NODE_PROCESSES === p),
  ),
];
/** The first node comes alone: what it waits for is the controller's work, not that for others. */
for (const [g, group] of groups.entries()) {
  const child = start('nodes.ts', []);
  child.on('message', (message: Told) => told.push(message));
  const order: Connect = {
    address: `127.0.0.1:${port}`,
    rootPem,
    nodes: group,
    addresses: services + pods,
  };
  nodeProcesses.push(child);
  cpu.start();
  child.send(order);
  if (g !== 0) continue;
  await until('the first node to be complete', () => complete().length === 1);
  spentOn.firstAlone = cpu.stop();
  cpu.start();
}
await until('all nodes to be complete', () => complete().length === nodes);
spentOn.othersTogether = cpu.stop();
const rssAll = rssMb();
await sleep(SETTLE_MS);
const rssSettled = rssMb();

const changed = new Map<string, number>();
cluster.on('message', ({ changed: version, atMs }: { changed: string; atMs: number }) =>
  changed.set(version, atMs),
);
cpu.start();
for (let i = 0; i < changes; i += 1) {
  cluster.send('change');
  await sleep(PACE_MS);
}
const receipts = (): Extract<Told, { told: 'change' }>[] =>
  told.filter((message) => message.told === 'change');
const last = `changed-${changes}`;
await until(
  'all nodes to have the last change',
  () => receipts().filter(({ version }) => version === last).length === nodes,
);
spentOn.changes = cpu.stop();
const byChange = Map.groupBy(receipts(), ({ version }) => version);
const latencies = receipts().map(({ version, atMs }) => atMs - (changed.get(version) ?? NaN));
const atAll = [...byChange].map(
  ([version, all]) => Math.max(...all.map(({ atMs }) => atMs)) - (changed.get(version) ?? NaN),
);
const rssChanged = rssMb();
await sleep(SETTLE_MS);
const rssEnd = rssMb();

const ztunnel = { controller: `127.0.0.1:${port}`, rootPem };
const needs = Array.from({ length: Math.min(NEEDED, services) }, (_, s) => `ns-${s % NAMESPACES}/svc-${s}`);
const ztunnels = {
  none: await ztunnelMemory({ ...ztunnel, onDemand: true, needs: [], until: 0 }),
  needed: await ztunnelMemory({ ...ztunnel, onDemand: true, needs, until: needs.length }),
  all: await ztunnelMemory({ ...ztunnel, onDemand: false, needs: [], until: services }),
};

const [first, ...others] = complete();
console.log(
  JSON.stringify({
    ...{ services, pods, nodes, changes },
    controllerReadyMs: Math.round(readyMs),
    firstSnapshotMs: {
      alone: Math.round(first?.tookMs ?? NaN),
      together: spread(others.map(({ tookMs }) => tookMs)),
    },
    changeAtANodeMs: spread(latencies),
    changeAtAllNodesMs: spread(atAll),
    receipts: latencies.length,
    snapshotMb: Math.round((first?.bytes ?? NaN) / 2 ** 20),
    cpuMs: spentOn,
    rssMb: {
      ready: rssReady,
      allConnected: rssAll,
      settled: rssSettled,
      changed: rssChanged,
      end: rssEnd,
      peak: statusField('VmHWM'),
    },
    ztunnels,
  }),
);
const controllerEnded = once(controller, 'exit');
for (const child of started) child.kill();
await controllerEnded;
await rm(dir, { recursive: true });
process.exit();

function start(script: string, args: readonly string[]): ChildProcess {
  const child = fork(fileURLToPath(new URL(script, import.meta.url)), args);
  started.push(child);
  return child;
}

function startController({ server, caFile }: KubeAccess, listen: number): ChildProcess {
  const at = (path: string): string => fileURLToPath(new URL(`../../${path}`, import.meta.url));
  const built = at('dist/controller/main.js');
  const main = existsSync(built) ? built : at('controller/main.ts');
  const profile = process.env['BENCH_PROFILE'];
  const child = spawn(
    process.execPath,
    [
      ...(profile === undefined ? [] : ['--cpu-prof', '--cpu-prof-dir', profile]),
      ...['--disable-sigusr1', '--enable-source-maps', main],
      ...['--listen', `127.0.0.1:${listen}`, '--status', status, '--namespace', 'loam-system'],
      ...['--kubernetes-api', server, '--kubernetes-account', dirname(caFile)],
    ],
    { stdio: ['ignore', 'pipe', 'inherit'] },
  );
  child.stdout.pipe(createWriteStream(process.env['BENCH_LOG'] ?? '/dev/null'));
  started.push(child);
  return child;
}

async function answer<T>(child: ChildProcess): Promise<T> {
  const [message] = (await once(child, 'message')) as [T];
  return message;
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port: free } = server.address() as { port: number };
  server.close();
  return free;
}

/** The answer's body when it is 200. */
async function get(path: string): Promise<string | undefined> {
  return new Promise((resolve) => {
    const asked = request({ socketPath: status, path }, (response) => {
      response.toArray().then(
        (parts) => resolve(response.statusCode === 200 ? parts.join('') : undefined),
        () => resolve(undefined),
      );
    });
    asked.on('error', () => resolve(undefined));
    asked.end();
  });
}

async function until(what: string, holds: () => boolean | Promise<boolean>): Promise<void> {
  const giveUp = performance.now() + GIVE_UP_MS;
  while (!(await holds())) {
    if (controller.exitCode !== null) throw new Error('the controller ended');
    const lost = told.find((message) => message.told === 'ended');
    if (lost !== undefined) throw new Error(`${lost.node} lost its stream: ${lost.reason}`);
    if (performance.now() > giveUp) throw new Error(`waited in vain for ${what}`);
    await sleep(50);
  }
}

function complete(): Extract<Told, { told: 'complete' }>[] {
  return told.filter((message) => message.told === 'complete');
}

function spread(values: readonly number[]): object {
  const sorted = [...values].sort((a, b) => a - b);
  const at = (share: number): number =>
    Math.round(sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? NaN);
  return { p50: at(0.5), p99: at(0.99), max: at(1) };
}

function rssMb(): number {
  return statusField('VmRSS');
}

/** Of /proc/PID/status, in megabytes. */
function statusField(name: string): number {
  const text = readFileSync(`/proc/${controller.pid}/status`, 'utf8');
  return Math.round(Number(new RegExp(`^${name}:\\s+(\\d+) kB`, 'm').exec(text)?.[1]) / 1024);
}

/** Milliseconds of processor time. */
interface Spent {
  readonly controller: number;
  readonly mainThread: number;
  readonly apiServer: number;
  readonly nodes: number;
}

/** The processor time from `start` to `stop`. */
function stopwatch(): { start: () => void; stop: () => Spent } {
  const taken = (): Spent => ({
    controller: cpuMs(`${controller.pid}`),
    mainThread: cpuMs(`${controller.pid}/task/${controller.pid}`),
    apiServer: cpuMs(`${cluster.pid}`),
    nodes: nodeProcesses.reduce((sum, { pid }) => sum + cpuMs(`${pid}`), 0),
  });
  let before = taken();
  return {
    start: () => (before = taken()),
    stop: () => {
      const now = taken();
      return {
        controller: now.controller - before.controller,
        mainThread: now.mainThread - before.mainThread,
        apiServer: now.apiServer - before.apiServer,
        nodes: now.nodes - before.nodes,
      };
    },
  };
}

/** Of /proc/PID/stat or that of a thread, where a tick is a hundredth of a second. */
function cpuMs(task: string): number {
  const stat = readFileSync(`/proc/${task}/stat`, 'utf8');
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return (Number(fields[11]) + Number(fields[12])) * 10;
}
