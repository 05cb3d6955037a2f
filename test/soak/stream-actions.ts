import { execFile } from 'node:child_process';
import { basename } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import type { Mesh } from '../mesh/harness.ts';

const run = promisify(execFile);

/** What can happen to the mesh while streams are under way; each leaves things as they were. */
export type StreamAction = (mesh: Mesh, random: () => number) => Promise<void>;

const NODES = ['node-a', 'node-b'] as const;
const PODS = ['client', 'server', 'near', 'behind'] as const;

function oneOf<T>(values: readonly [T, ...T[]], random: () => number): T {
  return values[Math.floor(random() * values.length)] ?? values[0];
}

async function kill(mesh: Mesh, program: 'ztunnel' | 'agent' | 'controller', node?: string): Promise<void> {
  process.kill((await mesh.program(program, node)).pid, 'SIGKILL');
  await sleep(2_000);
}

const stopFor =
  (ms: number): StreamAction =>
  async (mesh, random) => {
    const { pid } = await mesh.program('ztunnel', oneOf(NODES, random));
    process.kill(pid, 'SIGSTOP');
    await sleep(ms);
    process.kill(pid, 'SIGCONT');
    await sleep(1_000);
  };

/** As when a machine vanishes: nobody hears of it, until nobody answers a PING. */
async function cutWire(mesh: Mesh, random: () => number, ms: number): Promise<void> {
  const fabric = mesh.netns({ kind: 'fabric' });
  const ports = (await run('ip', ['-n', basename(fabric), '-o', 'link', 'show'])).stdout.match(
    /node\d+(?=@)/g,
  );
  const port = ports?.[Math.floor(random() * ports.length)];
  if (port === undefined) throw new Error('the fabric has no port of a node');
  await run('ip', ['-n', basename(fabric), 'link', 'set', port, 'down']);
  await sleep(ms);
  await run('ip', ['-n', basename(fabric), 'link', 'set', port, 'up']);
  await sleep(1_000);
}

export const STREAM_ACTIONS: Readonly<Record<string, StreamAction>> = {
  'kill a ztunnel': (mesh, random) => kill(mesh, 'ztunnel', oneOf(NODES, random)),
  'kill an agent': (mesh, random) => kill(mesh, 'agent', oneOf(NODES, random)),
  'kill the controller': (mesh) => kill(mesh, 'controller'),
  'kill the waypoint': async (mesh) => {
    process.kill((await mesh.program('waypoint', undefined, 'm/way-0')).pid, 'SIGKILL');
    await sleep(2_000);
  },
  'kill both ztunnels': async (mesh) => {
    const programs = await Promise.all(NODES.map((node) => mesh.program('ztunnel', node)));
    for (const { pid } of programs) process.kill(pid, 'SIGKILL');
    await sleep(3_000);
  },
  'stop a ztunnel for 4 s': stopFor(4_000),
  'stop a ztunnel for 40 s, so that its peers give it up': stopFor(40_000),
  "reset a pod's tunnels": async (mesh, random) => {
    const netns = mesh.netns({ kind: 'pod', namespace: 'm', name: oneOf(PODS, random) });
    // SOCK_DESTROY: the own end hears ECONNABORTED, the other a reset.
    await run('nsenter', [
      `--net=${netns}`,
      'ss',
      '-K',
      '(',
      'sport',
      '=',
      ':15008',
      'or',
      'dport',
      '=',
      ':15008',
      ')',
    ]);
    await sleep(1_000);
  },
  "reset a pod's connections": async (mesh, random) => {
    const netns = mesh.netns({ kind: 'pod', namespace: 'm', name: oneOf(PODS, random) });
    await run('nsenter', [`--net=${netns}`, 'ss', '-K', 'state', 'established']);
    await sleep(1_000);
  },
  'cut the wire of a node for 3 s': (mesh, random) => cutWire(mesh, random, 3_000),
  'cut the wire of a node for 35 s': (mesh, random) => cutWire(mesh, random, 35_000),
};
