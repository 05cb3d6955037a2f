/** Real ztunnels at the controller of bench/kubernetes/controller.ts: what the mesh takes of one node's memory. */
import { type ChildProcess, spawn } from 'node:child_process';
import { closeSync, existsSync, readFileSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { get } from 'node:http';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { create, toBinary } from '@bufbuild/protobuf';
import { ADDRESS_TYPE } from '../../controller/xds/snapshot.ts';
import { sealedMemory } from '../../lib/linux/memfd.ts';
import { type SeqpacketConnection, SeqpacketServer } from '../../lib/linux/seqpacket.ts';
import { AddressSchema } from '../../proto/gen/istio/workload/workload_pb.js';
import { WorkloadRequestSchema } from '../../proto/gen/zds/zds_pb.js';
import { encodeHeldState } from '../../ztunnel/held-state/format.ts';
import { nodeToken } from './stand-in.ts';

export interface ZtunnelMemory {
  readonly services: number;
  readonly workloads: number;
  readonly rssMb: number;
}

export interface ZtunnelOptions {
  readonly controller: string;
  readonly rootPem: string;
  readonly onDemand: boolean;
  /** Services (`namespace/name`) that the node's pods dialled lately: as the ztunnel before it left them. */
  readonly needs: readonly string[];
  /** How many Services there must be at least before it is looked at. */
  readonly until: number;
}

const NODE = 'node-of-ztunnel';
const OWNER = { node: NODE, clusterId: 'Kubernetes', trustDomain: 'cluster.local' };
const GIVE_UP_MS = 300_000;
/** Its memory counts when it has not grown for so long: the mesh is there, and what was garbage is collected. */
const QUIET_MS = 12_000;
const GROWTH_MB = 2;

/** Runs one until it knows what it needs, and then for some seconds. */
export async function ztunnelMemory(options: ZtunnelOptions): Promise<ZtunnelMemory> {
  const dir = await mkdtemp(join(tmpdir(), 'loam-bench-ztunnel-'));
  await writeFile(join(dir, 'token'), nodeToken(NODE), { mode: 0o600 });
  await writeFile(join(dir, 'root.pem'), options.rootPem);
  const agent = standInAgent(join(dir, 'zds'), options.needs);
  const admin = await freePort();
  const [ready, metrics] = [await freePort(), await freePort()];
  const child = start(dir, options, { admin, ready, metrics });
  try {
    const giveUp = performance.now() + GIVE_UP_MS;
    for (;;) {
      const rssMb = await settledRss(child);
      // Asked afterwards: the answer takes memory, too.
      const found = await known(admin);
      if (found !== undefined && found.services >= options.until) return { ...found, rssMb };
      if (performance.now() > giveUp) throw new Error(`the ztunnel knows of ${JSON.stringify(found)} alone`);
    }
  } finally {
    child.kill('SIGKILL');
    await agent.close();
    await rm(dir, { recursive: true });
  }
}

function start(
  dir: string,
  { controller, onDemand }: ZtunnelOptions,
  ports: Record<string, number>,
): ChildProcess {
  const at = (path: string): string => fileURLToPath(new URL(`../../${path}`, import.meta.url));
  const built = at('dist/ztunnel/main.js');
  const flags = {
    node: NODE,
    zds: join(dir, 'zds'),
    'xds-address': `https://${controller}`,
    'ca-address': `https://${controller}`,
    'xds-root': join(dir, 'root.pem'),
    'ca-root': join(dir, 'root.pem'),
    token: join(dir, 'token'),
    'xds-on-demand': onDemand ? 'on' : 'off',
    'log-level': 'warn',
    ...Object.fromEntries(Object.entries(ports).map(([flag, port]) => [flag, `127.0.0.1:${port}`])),
  };
  const args = Object.entries(flags).flatMap(([flag, value]) => [`--${flag}`, value]);
  const main = existsSync(built) ? built : at('ztunnel/main.ts');
  return spawn(process.execPath, ['--disable-sigusr1', '--enable-source-maps', main, ...args], {
    stdio: ['ignore', process.env['BENCH_LOG'] === undefined ? 'ignore' : 'inherit', 'inherit'],
  });
}

/** An agent without pods, which holds what an earlier ztunnel knew of. */
function standInAgent(path: string, needs: readonly string[]): SeqpacketServer {
  const resources = needs.map((name) => {
    const [namespace = '', service = ''] = name.split('/');
    const hostname = `${service}.${namespace}.svc.cluster.local`;
    const value = { name: service, namespace, hostname };
    const address = create(AddressSchema, { type: { case: 'service', value } });
    // Of no version that the controller has: it tells what is there.
    return { name: `${namespace}/${hostname}`, version: '0', value: toBinary(AddressSchema, address) };
  });
  const held = encodeHeldState(OWNER, { types: [{ typeUrl: ADDRESS_TYPE, resources }], certificates: [] });
  return SeqpacketServer.listen({
    path,
    onConnection: (connection) => greet(connection, held),
    onRefused: (error) => console.error(error.message),
    onFailure: (error) => {
      throw error;
    },
  });
}

function greet(connection: SeqpacketConnection, held: Buffer): void {
  let packets = 0;
  const send = (
    payload: Parameters<typeof create<typeof WorkloadRequestSchema>>[1],
    fds: number[] = [],
  ): void =>
    void connection.send(toBinary(WorkloadRequestSchema, create(WorkloadRequestSchema, payload)), fds);
  connection.onPacket(() => {
    packets += 1;
    // Its hello, then its acknowledgement of the state.
    if (packets === 1) {
      const fd = sealedMemory('held', held);
      send({ payload: { case: 'loamState', value: { ageMs: 0n } } }, [fd]);
      closeSync(fd);
    } else if (packets === 2) send({ payload: { case: 'snapshotSent', value: {} } });
  });
  connection.onClose(() => undefined);
}

async function settledRss(child: ChildProcess): Promise<number> {
  const giveUp = performance.now() + GIVE_UP_MS;
  let [least, at] = [0, performance.now()];
  while (performance.now() - at < QUIET_MS) {
    await sleep(500);
    if (child.exitCode !== null) throw new Error('the ztunnel ended');
    if (performance.now() > giveUp) throw new Error('the memory of the ztunnel goes on growing');
    const rssMb = rssOf(child);
    if (Math.abs(rssMb - least) > GROWTH_MB) [least, at] = [rssMb, performance.now()];
  }
  return rssOf(child);
}

/** What the ztunnel knows of the mesh, by its admin port; undefined where that is not open yet. */
async function known(port: number): Promise<Omit<ZtunnelMemory, 'rssMb'> | undefined> {
  return new Promise((resolve) => {
    const asked = get({ host: '127.0.0.1', port, path: '/config_dump' }, (response) => {
      response.toArray().then(
        (parts) => {
          const dump = JSON.parse(parts.join('')) as { services: unknown[]; workloads: unknown[] };
          resolve({ services: dump.services.length, workloads: dump.workloads.length });
        },
        () => resolve(undefined),
      );
    });
    asked.on('error', () => resolve(undefined));
  });
}

function rssOf({ pid }: ChildProcess): number {
  const text = readFileSync(`/proc/${pid}/status`, 'utf8');
  return Math.round(Number(/^VmRSS:\s+(\d+) kB/m.exec(text)?.[1]) / 1024);
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await new Promise((resolve) => server.on('listening', resolve));
  const { port } = server.address() as { port: number };
  server.close();
  return port;
}
