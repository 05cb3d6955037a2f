import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { after, before, describe, it } from 'mocha';
import { ask, type Endpoint } from '../../cli/local/http.ts';
import { netnsName } from '../../cli/local/names.ts';
import { WAYPOINT_ADMIN_PORT, ZTUNNEL_ADMIN_PORT } from '../../cli/local/programs.ts';
import { eventually, Mesh } from '../mesh/harness.ts';
import { podManifest } from '../mesh/manifests.ts';
import { WAY_BASE, wayService } from '../mesh/waypoint-manifests.ts';
import { seededRandom } from './chaos-actions.ts';
import { held, heldText, peakRss, type Held } from './memory.ts';
import { STREAM_ACTIONS } from './stream-actions.ts';
import { soakFile, StreamLoad, type StreamCounts } from './stream-load.ts';

const SECONDS = Number(process.env['LOAM_SOAK_SECONDS'] ?? '1800');
const SEED = Number(process.env['LOAM_SOAK_SEED'] ?? String(Date.now() % 1_000_000));
/** Streams at once, of each of the two clients. */
const CONCURRENT = Number(process.env['LOAM_SOAK_STREAMS'] ?? '24');
const ROUNDS = 5;
/** One round more comes first, unmeasured: code is compiled and pools are filled once. */
const ROUND_SECONDS = SECONDS / 2 / (ROUNDS + 1);
const NODES = ['node-a', 'node-b'] as const;
const HELD_SLACK = 1.05;
/** Pages that the allocator keeps are not given back in a fixed measure: noise, and no growth. */
const RSS_SLACK = 1.1;
/** Connections to the controller that are made anew, a directory that is just being read. */
const FD_SLACK = 4;
const IDLE_WITHIN_MS = 90_000;

const PORTS = [9000, 9001, 9002, 9003] as const;
const server = (name: string, node: string, mode?: 'none'): string =>
  podManifest(name, {
    node,
    commands: { server: `node ${soakFile('stream-server.mjs')}` },
    ports: PORTS,
    ...(mode && { labels: { 'loam.dev/dataplane-mode': mode } }),
  });
const services = (name: string, waypoint?: string): string =>
  wayService(name, {
    selector: { app: name },
    ports: {
      9000: [9000, 'tcp'],
      9001: [9001, 'http'],
      9002: [9002, 'http'],
      9003: [9003, 'kubernetes.io/h2c'],
    },
    ...(waypoint !== undefined && { waypoint }),
  });

/** Every way that bytes take: another node, the same, a waypoint unread and read, out of the mesh and into it. */
const ROUTES = [
  ...['tcp:server:9000', 'tcp:near:9000', 'tcp:outside:9000', 'h1:server:9001', 'h2:near:9003'],
  ...['tcp:behind:9000', 'h1:behind:9001', 'h1:behind:9002', 'h2:behind:9003'],
];

describe('soak: byte streams', function () {
  this.timeout(0);
  let mesh: Mesh;
  let loads: StreamLoad[];

  before(async () => {
    mesh = await Mesh.up(
      {
        ...WAY_BASE,
        'other.yaml': podManifest('other', { node: 'node-b', labels: { 'loam.dev/dataplane-mode': 'none' } }),
        'server.yaml': server('server', 'node-b'),
        'near.yaml': server('near', 'node-a'),
        'outside.yaml': server('outside', 'node-b', 'none'),
        'services.yaml': ['server', 'near', 'outside'].map((name) => services(name)).join('---\n'),
        'behind.yaml': server('behind', 'node-b'),
        'way.yaml': services('behind', 'way'),
      },
      { LOAM_DIAGNOSTICS: 'on' },
    );
    const load = (pod: string, seed: number, routes: readonly string[], concurrent: number) =>
      StreamLoad.in(mesh, pod, { seed, concurrent, routes });
    loads = [
      await load('client', SEED, ROUTES, CONCURRENT),
      await load('other', SEED + 1, ['tcp:server:9000', 'h1:near:9001'], Math.ceil(CONCURRENT / 4)),
    ];
    await eventually('the waypoint to answer', async () => {
      const { stdout } = await mesh.exec(
        'client',
        ...(['curl', '-s', '-o', '/dev/null', '-w', '%{http_code}', '-X', 'POST', '-H'] as const),
        `x-stream: ${JSON.stringify({ up: 0, down: 0, upSeed: 1, downSeed: 1, length: true, serverRead: { every: 1, waitMs: 0, firstMs: 0 }, serverWrite: { chunk: 1, waitMs: 0 } })}`,
        'http://behind:9001/',
      );
      return stdout === '200';
    });
  });
  after(async () => {
    for (const load of loads ?? []) load.end();
    await mesh?.down();
  });

  const admins = (): Readonly<Record<string, Endpoint>> => ({
    ...Object.fromEntries(
      NODES.map((node) => [
        `ztunnel ${node}`,
        { netns: netnsName(mesh.name, { kind: 'node', node }), port: ZTUNNEL_ADMIN_PORT },
      ]),
    ),
    waypoint: {
      netns: netnsName(mesh.name, { kind: 'waypoint', namespace: 'm', name: 'way', index: 0 }),
      port: WAYPOINT_ADMIN_PORT,
    },
  });

  /** Load for so long, with `during` beside it, until the last stream has ended. */
  async function phase(
    name: string,
    seconds: number,
    during: (until: number) => Promise<void>,
  ): Promise<StreamCounts> {
    await Promise.all(loads.map((load) => load.go()));
    const until = Date.now() + seconds * 1_000;
    await during(until);
    await sleep(Math.max(0, until - Date.now()));
    const parts = await Promise.all(loads.map((load) => load.stop()));
    const sum = (what: 'whole' | 'reset' | 'cut' | 'bytes'): number =>
      parts.reduce((all, part) => all + part[what], 0);
    const all: StreamCounts = {
      ...{ whole: sum('whole'), reset: sum('reset'), cut: sum('cut'), bytes: sum('bytes') },
      byRoute: Object.assign({}, ...parts.map(({ byRoute }) => byRoute)) as StreamCounts['byRoute'],
      cuts: parts.flatMap(({ cuts }) => cuts),
      violations: parts.flatMap(({ violations }) => violations),
    };
    const { whole, reset, cut, bytes, byRoute } = all;
    console.log(
      `      ${new Date().toISOString()} ${name}: ${whole} whole, ${reset} reset, ${cut} cut, ${(bytes / 2 ** 20).toFixed(0)} MB down ${JSON.stringify(byRoute)}`,
    );
    for (const cut of name === 'chaos' ? [] : all.cuts) console.log(`        cut: ${JSON.stringify(cut)}`);
    assert.deepEqual([...all.violations, ...serverViolations()].slice(0, 5), []);
    return all;
  }

  function serverViolations(): string[] {
    return ['server', 'near', 'outside', 'behind'].flatMap((pod) =>
      readFileSync(mesh.paths.podLog('m', pod, 'server'), 'utf8')
        .split('\n')
        .filter((line) => line.includes('"violation"') || line.includes('Error')),
    );
  }

  /**
   * No connection is left anywhere; then what each program holds.
   *
   * @param kept whether those may stay that a waypoint keeps to its endpoints for its next requests, for a minute
   */
  async function measure(kept: 'with those kept' | 'none kept'): Promise<Record<string, Held>> {
    for (const node of NODES) {
      const admin = admins()[`ztunnel ${node}`];
      assert.ok(admin);
      const until = Date.now() + IDLE_WITHIN_MS;
      for (;;) {
        const { connections } = JSON.parse((await ask(admin, '/connections', 'GET', 10_000)).body) as {
          connections: readonly { readonly source: { readonly workload?: string } }[];
        };
        const left = connections.filter(
          ({ source }) => kept === 'none kept' || source.workload?.startsWith('way-') !== true,
        );
        if (left.length === 0) break;
        assert.ok(Date.now() < until, `left at ${node}: ${JSON.stringify(left.slice(0, 3))}`);
        await sleep(500);
      }
    }
    const measured: Record<string, Held> = {};
    for (const [program, admin] of Object.entries(admins())) {
      measured[program] = await held(admin);
      console.log(`        ${program.padEnd(16)} ${heldText(measured[program])}`);
    }
    return measured;
  }

  it(`of ${ROUNDS} rounds with resets and slow ends leave nothing behind, and none breaks (seed ${SEED})`, async () => {
    const nothing = (): Promise<void> => Promise.resolve();
    await phase('warm-up', ROUND_SECONDS, nothing);
    const rounds = [await measure('with those kept')];
    for (let round = 1; round <= ROUNDS; round += 1) {
      const { cut, cuts, whole } = await phase(`round ${round}`, ROUND_SECONDS, nothing);
      assert.ok(whole > ROUND_SECONDS, 'streams went through');
      assert.deepEqual([cut, cuts.slice(0, 3)], [0, []], 'nothing was cut that nobody cut');
      rounds.push(await measure('with those kept'));
    }
    for (const node of NODES) {
      const { pid } = await mesh.program('ztunnel', node);
      console.log(`        ztunnel ${node}: RSS at most ${(peakRss(pid) / 2 ** 20).toFixed(0)} MB`);
    }
    for (const program of Object.keys(admins())) {
      const [idle, ...after] = rounds.map((round) => round[program]);
      assert.ok(idle);
      for (const [i, at] of after.entries()) {
        assert.ok(at);
        const where: string = `${program}, round ${i + 1}: ${heldText(at)}; idle: ${heldText(idle)}`;
        assert.ok(at.heap <= idle.heap * HELD_SLACK, `heap of ${where}`);
        assert.ok(at.external <= idle.external * HELD_SLACK, `external memory of ${where}`);
        assert.ok(at.descriptors <= idle.descriptors + FD_SLACK, `descriptors of ${where}`);
      }
      const [first, last] = [after[0], after.at(-1)];
      assert.ok(first && last && last.rss <= first.rss * RSS_SLACK, `RSS of ${program} grew over the rounds`);
    }
  });

  it('are right through kills, stops, resets and cut wires, and what is cut looks cut', async () => {
    const random = seededRandom(SEED);
    const done = new Map<string, number>();
    const counts = await phase('chaos', SECONDS / 2, async (until) => {
      const actions = Object.entries(STREAM_ACTIONS);
      for (let n = 0; Date.now() < until; n += 1) {
        // Each once, then by chance.
        const [name, act] = actions[n < actions.length ? n : Math.floor(random() * actions.length)] ?? [];
        assert.ok(name !== undefined && act !== undefined);
        console.log(`      ${new Date().toISOString()} ${name}`);
        await act(mesh, random);
        done.set(name, (done.get(name) ?? 0) + 1);
        await sleep(2_000 + random() * 4_000);
      }
    });
    console.log(`      ${JSON.stringify(Object.fromEntries(done))}`);
    assert.ok(counts.whole > SECONDS / 4 && counts.cut > 0, 'most went through, and some were cut');
    await eventually('all of the mesh to be well', async () => {
      const { readiness } = await mesh.status();
      return (
        readiness.controller.ready &&
        readiness.nodes.every(({ agent, ztunnel }) => agent.ready && ztunnel.ready)
      );
    });
    const { cut, cuts } = await phase('after it', Math.min(20, ROUND_SECONDS), () => Promise.resolve());
    assert.deepEqual([cut, cuts.slice(0, 3)], [0, []]);
    await measure('none kept');
  });
});
