import assert from 'node:assert/strict';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { createInterface, type Interface } from 'node:readline';
import { after, before, describe, it } from 'mocha';
import { ask, type Endpoint } from '../../cli/local/http.ts';
import { netnsName } from '../../cli/local/names.ts';
import { WAYPOINT_ADMIN_PORT, ZTUNNEL_ADMIN_PORT } from '../../cli/local/programs.ts';
import type { ProcessMemory } from '../../lib/memory.ts';
import { appFile, eventually, Mesh } from '../mesh/harness.ts';
import { serverManifest } from '../mesh/manifests.ts';
import { WAY_BASE, wayService } from '../mesh/waypoint-manifests.ts';

/** Of an admin port: to collect all garbage takes a while, and so do thousands of rows. */
const ANSWER_MS = 30_000;
const AT_ONCE = 5_000;
const IDLE = 1_000;
/** By measurement a third of it, with TLS, HTTP/2 and the relay; more would be a leak, or buffers that are not needed. */
const MOST_KB_EACH = 150;

interface CrowdResult {
  readonly good: number;
  readonly greeted: number;
  readonly failures: Readonly<Record<string, number>>;
}

/** Many connections of one process in a pod, which stay open until it is told to end. */
class Crowd {
  readonly #child: ChildProcess;
  readonly #lines: Interface;

  private constructor(child: ChildProcess) {
    if (child.stdout === null) throw new Error('no output');
    this.#child = child;
    this.#lines = createInterface({ input: child.stdout });
  }

  /** @returns with what became of each */
  static async of(
    mesh: Mesh,
    pod: string,
    host: string,
    port: number,
    count: number,
  ): Promise<Crowd & { result: CrowdResult }> {
    const args = ['crowd', host, String(port), String(count)];
    const crowd = new Crowd(await mesh.spawn(pod, 'node', appFile('fault-peer.mjs'), ...args));
    return Object.assign(crowd, { result: (await crowd.#next()) as CrowdResult });
  }

  /** Has each that is open say something more. */
  async again(): Promise<{ readonly asked: number; readonly answered: number }> {
    this.#child.stdin?.write('again\n');
    return (await this.#next()) as { asked: number; answered: number };
  }

  async end(): Promise<void> {
    const closed = once(this.#child, 'close');
    this.#child.stdin?.end('end\n');
    await closed;
  }

  async #next(): Promise<unknown> {
    const [line] = (await once(this.#lines, 'line')) as [string];
    return JSON.parse(line);
  }
}

const MANIFESTS = {
  ...WAY_BASE,
  'server.yaml': serverManifest('server', 'node-b'),
  'behind.yaml': serverManifest('behind', 'node-b'),
  'services.yaml': [
    wayService('server', { selector: { app: 'server' }, ports: { 7000: [7000, 'tcp'] } }),
    wayService('behind', { selector: { app: 'behind' }, ports: { 7000: [7000, 'tcp'] }, waypoint: 'way' }),
  ].join('---\n'),
};

const admins = (mesh: Mesh): Readonly<Record<string, Endpoint>> => ({
  ...Object.fromEntries(
    ['node-a', 'node-b'].map((node) => [
      `ztunnel ${node}`,
      { netns: netnsName(mesh.name, { kind: 'node', node }), port: ZTUNNEL_ADMIN_PORT },
    ]),
  ),
  waypoint: {
    netns: netnsName(mesh.name, { kind: 'waypoint', namespace: 'm', name: 'way', index: 0 }),
    port: WAYPOINT_ADMIN_PORT,
  },
});

/** Connections that the ztunnels have. */
async function openAt(mesh: Mesh): Promise<number> {
  let open = 0;
  for (const node of ['node-a', 'node-b']) {
    const admin = admins(mesh)[`ztunnel ${node}`];
    assert.ok(admin);
    const { connections } = JSON.parse((await ask(admin, '/connections', 'GET', ANSWER_MS)).body) as {
      connections: unknown[];
    };
    open += connections.length;
  }
  return open;
}

async function refusals(mesh: Mesh, reason: string): Promise<number> {
  let sum = 0;
  for (const node of ['node-a', 'node-b']) {
    const line = new RegExp(`^loam_connections_refused_total\\{reason="${reason}"\\} (\\d+)$`, 'm');
    sum += Number(line.exec(await mesh.metrics(node))?.[1] ?? 0);
  }
  return sum;
}

describe('faults: crowds', function () {
  this.timeout(600_000);
  let mesh: Mesh;

  before(async () => {
    mesh = await Mesh.up(MANIFESTS, { LOAM_DIAGNOSTICS: 'on' });
  });
  after(() => mesh.down());

  const memory = async (program: string): Promise<ProcessMemory> => {
    const admin = admins(mesh)[program];
    assert.ok(admin);
    return JSON.parse((await ask(admin, '/memory/collect', 'POST', ANSWER_MS)).body) as ProcessMemory;
  };
  const quiet = (): Promise<boolean> =>
    eventually('all connections to be over', async () => (await openAt(mesh)) === 0);

  for (const host of ['server', 'behind'])
    it(`${AT_ONCE} connects at once to ${host}: none is lost`, async () => {
      const crowd = await Crowd.of(mesh, 'client', host, 7000, AT_ONCE);
      try {
        assert.deepEqual(crowd.result, { good: AT_ONCE, greeted: AT_ONCE, failures: {} });
        assert.deepEqual(await crowd.again(), { asked: AT_ONCE, answered: AT_ONCE });
      } finally {
        await crowd.end();
      }
      await quiet();
    });

  for (const [host, programs] of [
    ['server', ['ztunnel node-a', 'ztunnel node-b']],
    ['behind', ['ztunnel node-a', 'waypoint', 'ztunnel node-b']],
  ] as const)
    it(`${IDLE} idle connections to ${host}: what each holds`, async () => {
      const before = await Promise.all(programs.map((program) => memory(program)));
      const crowd = await Crowd.of(mesh, 'client', host, 7000, IDLE);
      assert.equal(crowd.result.good, IDLE, JSON.stringify(crowd.result));
      for (const [i, program] of programs.entries()) {
        const [idle, full] = [before[i], await memory(program)];
        assert.ok(idle);
        const kb = (what: (of: ProcessMemory) => number): number => (what(full) - what(idle)) / 1_024 / IDLE;
        const threads = (what: 'heapUsed' | 'external') => (of: ProcessMemory) =>
          Object.values(of.threads).reduce((sum, thread) => sum + thread[what], 0);
        const [heap, external, rss] = [kb(threads('heapUsed')), kb(threads('external')), kb((of) => of.rss)];
        console.log(
          `        ${program}: ${heap.toFixed(1)} KB of heap, ${external.toFixed(1)} KB external, ${rss.toFixed(1)} KB of RSS for each`,
        );
        assert.ok(heap + external < MOST_KB_EACH, `${program}: ${heap} and ${external} KB`);
      }
      await crowd.end();
      await quiet();
    });
});

describe('faults: too little memory', function () {
  this.timeout(600_000);
  const LIMIT_MB = 240;
  const CROWD = 4_000;
  const MOST_CROWDS = 12;
  let mesh: Mesh;

  before(async () => {
    mesh = await Mesh.up(MANIFESTS, { LOAM_MEMORY_LIMIT_MB: String(LIMIT_MB) });
  });
  after(() => mesh.down());

  it('refuses new connections with a reason, carries on those that are open, and takes new ones when there is room', async () => {
    const pids = await Promise.all(['node-a', 'node-b'].map((node) => mesh.program('ztunnel', node)));
    const crowds: Crowd[] = [];
    let refused = 0;
    while (refused === 0) {
      assert.ok(crowds.length < MOST_CROWDS, 'it never refuses');
      const crowd = await Crowd.of(mesh, crowds.length % 2 === 0 ? 'client' : 'other', 'server', 7000, CROWD);
      crowds.push(crowd);
      const { good, failures } = crowd.result;
      refused = CROWD - good;
      // Reset at the near end, or by a 503 of the far one.
      assert.deepEqual(
        Object.keys(failures).filter((code) => code !== 'ECONNRESET'),
        [],
      );
    }
    assert.ok((await refusals(mesh, 'no-memory')) > 0);
    for (const crowd of crowds) {
      const { asked, answered } = await crowd.again();
      assert.equal(answered, asked, 'what is open goes on');
    }
    for (const crowd of crowds) await crowd.end();
    await eventually('new ones to be taken', async () => {
      const { stdout } = await mesh.exec('client', 'bash', '-c', 'exec 3<>/dev/tcp/server/7000; head -1 <&3');
      return stdout.startsWith('HELLO');
    });
    const after = await Promise.all(['node-a', 'node-b'].map((node) => mesh.program('ztunnel', node)));
    assert.deepEqual(
      after.map(({ pid }) => pid),
      pids.map(({ pid }) => pid),
      'none of them died',
    );
  });
});
