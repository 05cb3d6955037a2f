/**
 * Shown-by 4 of issue 5: from one pod to one port of one pod, more short connections than one pair of addresses has ports
 * for (each kept for a minute by TIME_WAIT), as fast as they are taken. None may fail (decision 0101).
 */
import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'mocha';
import { packageRoot } from '../../lib/package-root.ts';
import { finished, Mesh } from '../mesh/harness.ts';
import { namespaceManifest, podManifest } from '../mesh/manifests.ts';
import { PATIENCE } from '../support/patience.ts';
import { spawn } from 'node:child_process';

const CONNECTIONS = Number(process.env['LOAM_PORTS_CONNECTIONS'] ?? 300_000);
const AT_ONCE = 64;
const PORT = 7100;
/** Instead of 28,232, so that they would be used up at 70 connections a second already, on however slow a machine. */
const SOURCE_PORTS = 4096;
const TOO_MANY = 3 * SOURCE_PORTS;
/** Beside what is under way: pools and logs. */
const DESCRIPTORS_MORE = 64;
const SAMPLE_MS = 500;
const PLAIN = { labels: { 'loam.dev/dataplane-mode': 'none' } };
const SERVER = {
  node: 'node-b',
  ports: [PORT],
  commands: { app: `node ${file('short-server.mjs')} ${PORT}` },
};
const MANIFESTS = {
  'namespace.yaml': namespaceManifest(),
  'client.yaml': podManifest('client'),
  'server.yaml': podManifest('server', SERVER),
  'plain-client.yaml': podManifest('plain-client', PLAIN),
  'plain-server.yaml': podManifest('plain-server', { ...SERVER, ...PLAIN }),
};

interface Outcome {
  readonly succeeded: number;
  /** How many, by reason. */
  readonly failures: Readonly<Record<string, number>>;
  readonly seconds: number;
}

function file(name: string): string {
  return join(packageRoot(), 'test', 'ports', name);
}

/** What the kernel counts in the network namespace of a process. */
class NetnsCounters {
  readonly #pid: number;
  most = 0;

  constructor(pid: number) {
    this.#pid = pid;
  }

  sample(): void {
    const text = readFileSync(`/proc/${this.#pid}/net/sockstat`, 'utf8');
    this.most = Math.max(this.most, Number(/^TCP:.* tw (\d+)/m.exec(text)?.[1]));
  }

  /** Connections that the kernel took out of TIME_WAIT before their time, or began in the place of another. */
  cutShort(): number {
    const lines = readFileSync(`/proc/${this.#pid}/net/netstat`, 'utf8').split('\n');
    const [names = '', values = ''] = lines.filter((line) => line.startsWith('TcpExt:'));
    const value = (name: string): number => Number(values.split(' ')[names.split(' ').indexOf(name)]);
    return value('TCPTimeWaitOverflow') + value('TWRecycled');
  }
}

describe('ports: short connections from one pod to one port of one pod', function () {
  this.timeout(1_800_000 * PATIENCE);
  let mesh: Mesh;
  before(async () => {
    mesh = await Mesh.up(MANIFESTS);
    for (const pod of ['client', 'server', 'plain-client', 'plain-server']) {
      // Loopback connections may otherwise take over a TIME_WAIT that is a second old, and fewer ports would do.
      const settings = {
        tcp_tw_reuse: '0',
        tcp_max_tw_buckets: '1000000',
        ip_local_port_range: `32768 ${32768 + SOURCE_PORTS - 1}`,
      };
      for (const [name, value] of Object.entries(settings))
        await inNetns(pod, 'sysctl', '-qw', `net.ipv4.${name}=${value}`);
    }
  });
  after(() => mesh.down());

  async function initPid(pod: string): Promise<number> {
    const { initPid } = await mesh.pod(pod);
    assert.ok(initPid !== undefined, `pod ${pod} does not run`);
    return initPid;
  }

  async function inNetns(pod: string, ...command: string[]): Promise<void> {
    const args = ['--net', '--target', String(await initPid(pod)), ...command];
    const { code, stderr } = await finished(spawn('nsenter', args, { stdio: 'pipe' }));
    assert.equal(code, 0, stderr);
  }

  async function descriptors(node: string): Promise<number> {
    const { pid } = await mesh.program('ztunnel', node);
    return readdirSync(`/proc/${pid}/fd`).length;
  }

  async function addressOf(pod: string, family: 4 | 6): Promise<string> {
    const ip = (await mesh.pod(pod)).ips.find((each) => each.includes(':') === (family === 6));
    assert.ok(ip !== undefined, `${pod} has no IPv${family} address`);
    return ip;
  }

  /** Opens them all. @returns what came of them, and the most in TIME_WAIT at once, in the pod of each end */
  async function connections(
    client: string,
    server: string,
    family: 4 | 6,
    count: number,
  ): Promise<Outcome & { readonly timeWait: readonly [number, number] }> {
    const ip = await addressOf(server, family);
    const ends = [
      new NetnsCounters(await initPid(client)),
      new NetnsCounters(await initPid(server)),
    ] as const;
    const timer = setInterval(() => ends.forEach((end) => end.sample()), SAMPLE_MS);
    try {
      const numbers = [PORT, count, AT_ONCE].map(String);
      const { stdout, stderr } = await mesh.exec(client, 'node', file('short-client.mjs'), ip, ...numbers);
      assert.notEqual(stdout, '', stderr);
      ends.forEach((end) => end.sample());
      const outcome = JSON.parse(stdout) as Outcome;
      const timeWait = [ends[0].most, ends[1].most] as const;
      const rate = Math.round(outcome.succeeded / outcome.seconds);
      console.log(`      ${rate}/s, in TIME_WAIT at most ${timeWait.join(' and ')}: ${stdout.trim()}`);
      assert.deepEqual([ends[0].cutShort(), ends[1].cutShort()], [0, 0], 'the kernel kept every TIME_WAIT');
      return { ...outcome, timeWait };
    } finally {
      clearInterval(timer);
    }
  }

  for (const family of [4, 6] as const)
    it(`none of ${CONNECTIONS} fails (IPv${family})`, async () => {
      const before = [await descriptors('node-a'), await descriptors('node-b')];
      const outcome = await connections('client', 'server', family, CONNECTIONS);
      assert.deepEqual(outcome.failures, {});
      assert.equal(outcome.succeeded, CONNECTIONS);
      for (const most of outcome.timeWait)
        assert.ok(most > SOURCE_PORTS, `no more than ${most} were in TIME_WAIT at once: this showed nothing`);
      const since = [await descriptors('node-a'), await descriptors('node-b')];
      for (const [i, count] of since.entries())
        assert.ok(
          count <= (before[i] ?? 0) + AT_ONCE + DESCRIPTORS_MORE,
          `descriptors: ${before.join()} then ${since.join()}`,
        );
    });

  it('the same without the mesh runs out of ports', async () => {
    const { failures } = await connections('plain-client', 'plain-server', 4, TOO_MANY);
    assert.deepEqual(Object.keys(failures), ['EADDRNOTAVAIL connect']);
  });
});
