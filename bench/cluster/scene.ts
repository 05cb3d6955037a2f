/** What the experiments share: two namespaces' worth of pods, what goes through them, and what their processes are. */
import { spawn, type ChildProcessWithoutNullStreams } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { deployment, idle, namespace, script, service } from '../../test/cluster/support/apps.ts';
import type { TestCluster, TestPod } from '../../test/cluster/support/cluster.ts';
import type { KubeObject } from '../../test/cluster/support/resources.ts';

export const NAMESPACE = 'bench';
export const PORT = 7000;
/** Dials by name, as applications do. */
export const SERVER = `server.${NAMESPACE}`;
const PROBE = 'cluster/app/load-probe.mjs';

/** A server on node2, one on node1 beside the client, and the client. */
export function objects(): KubeObject[] {
  const serve = { command: script(PROBE, 'serve', String(PORT)), container: {} };
  const ports = { ports: [{ name: 'tcp-echo', port: PORT }] };
  return [
    namespace(NAMESPACE),
    deployment(NAMESPACE, 'server', { ...serve, node: 'node2' }),
    service(NAMESPACE, 'server', ports),
    deployment(NAMESPACE, 'near', { ...serve, node: 'node1' }),
    service(NAMESPACE, 'near', ports),
    idle(NAMESPACE, 'client', { node: 'node1' }),
  ];
}

export async function only(cluster: TestCluster, app: string): Promise<TestPod> {
  const [pod] = await cluster.readyPods(NAMESPACE, `app=${app}`);
  if (pod === undefined) throw new Error(`no pod ${app}`);
  return pod;
}

export interface Moment {
  readonly at: number;
  readonly why: string;
}
export interface Streams {
  readonly streams: number;
  readonly cuts: readonly Moment[];
}
export interface Connections {
  readonly made: number;
  readonly failures: readonly (Moment & { readonly ms: number })[];
  readonly slowest: { readonly at: number; readonly ms: number };
  readonly p50: number;
  readonly p99: number;
}

/** A client of the probe in a pod, until it is ended. */
export class Running<T> {
  readonly #child: ChildProcessWithoutNullStreams;
  #said = '';
  #complained = '';

  private constructor(child: ChildProcessWithoutNullStreams) {
    this.#child = child;
    child.stdout.on('data', (chunk: Buffer) => (this.#said += chunk.toString()));
    child.stderr.on('data', (chunk: Buffer) => (this.#complained += chunk.toString()));
  }

  static async start<T>(cluster: TestCluster, pod: TestPod, ...args: readonly string[]): Promise<Running<T>> {
    const running = new Running<T>(cluster.startInPod(pod, script(PROBE, ...args)));
    await cluster.until(`the probe ${args.join(' ')} runs`, () => running.#said.includes('started'));
    return running;
  }

  /** Ends it. @returns what it saw */
  async stop(): Promise<T> {
    this.#child.stdin.end();
    const deadline = Date.now() + 60_000;
    while (!this.#said.includes('{') || !this.#said.endsWith('\n')) {
      if (Date.now() > deadline) throw new Error(`the probe said nothing at its end: ${this.#complained}`);
      await sleep(50);
    }
    return JSON.parse(this.#said.trim().split('\n').at(-1) ?? '') as T;
  }
}

/** So many connections that stay open, with a round trip on each every so many ms. */
export function streams(
  cluster: TestCluster,
  pod: TestPod,
  host = SERVER,
  count = 100,
  everyMs = 100,
): Promise<Running<Streams>> {
  return Running.start(cluster, pod, 'streams', host, String(PORT), String(count), String(everyMs));
}

/** A new connection every so many ms. */
export function connections(
  cluster: TestCluster,
  pod: TestPod,
  host = SERVER,
  everyMs = 20,
): Promise<Running<Connections>> {
  return Running.start(cluster, pod, 'connections', host, String(PORT), String(everyMs));
}

/** Runs something in the midst of load. */
export interface UnderLoad {
  readonly streams: Streams;
  readonly connections: Connections;
  /** When it was begun, ms since the epoch. */
  readonly at: number;
}

/**
 * @param during what is measured
 * @param afterMs how long the load goes on after it
 */
export async function underLoad(
  cluster: TestCluster,
  client: TestPod,
  during: () => Promise<unknown>,
  afterMs: number,
): Promise<UnderLoad> {
  const open = await streams(cluster, client);
  const fresh = await connections(cluster, client);
  await sleep(3000);
  const at = Date.now();
  await during();
  await sleep(afterMs);
  return { connections: await fresh.stop(), streams: await open.stop(), at };
}

/** Process ids, as this machine numbers them, of a program of Loam on a node. @param program `agent`, `ztunnel`, `controller` */
export function processesOf(cluster: TestCluster, program: string, node?: string): number[] {
  const inits = (node === undefined ? cluster.nodes : [cluster.node(node)]).map(({ init }) => init);
  const found: number[] = [];
  for (const name of readdirSync('/proc')) {
    if (!/^\d+$/.test(name)) continue;
    try {
      const command = readFileSync(`/proc/${name}/cmdline`, 'utf8');
      if (!command.includes(`/app/dist/${program}/main.js`)) continue;
      if (descendsFrom(Number(name), inits)) found.push(Number(name));
    } catch {
      // It has ended.
    }
  }
  return found;
}

function descendsFrom(pid: number, ancestors: readonly number[]): boolean {
  for (let at = pid; at > 1;) {
    if (ancestors.includes(at)) return true;
    const parent = /^PPid:\s+(\d+)/m.exec(readFileSync(`/proc/${at}/status`, 'utf8'))?.[1];
    at = Number(parent ?? 0);
  }
  return false;
}

/** What passes on the link between the nodes, as tcpdump tells it line by line, with its time. */
export class Link {
  readonly #child;
  #text = '';

  private constructor(cluster: TestCluster, filter: string) {
    this.#child = spawn(
      'nsenter',
      [
        ...[`--net=${cluster.fabric}`, 'setpriv', '--pdeathsig', 'KILL'],
        ...['tcpdump', '-i', 'fabric', '-n', '-l', '-tt', '--immediate-mode', filter],
      ],
      { stdio: ['ignore', 'pipe', 'pipe'] },
    );
    this.#child.stdout.on('data', (chunk: Buffer) => (this.#text += chunk.toString()));
  }

  static async start(cluster: TestCluster, filter: string): Promise<Link> {
    const link = new Link(cluster, filter);
    await new Promise<void>((resolve) => {
      link.#child.stderr.on('data', (chunk: Buffer) => {
        if (chunk.includes('listening on')) resolve();
      });
    });
    return link;
  }

  /** Ends it. @returns for each line its time in ms since the epoch and the rest */
  async stop(): Promise<{ readonly at: number; readonly text: string }[]> {
    const ended = new Promise((resolve) => this.#child.once('exit', resolve));
    this.#child.kill('SIGINT');
    await ended;
    return this.#text
      .split('\n')
      .filter((line) => /^\d/.test(line))
      .map((text) => ({ at: Number(text.split(' ')[0]) * 1000, text }));
  }
}
