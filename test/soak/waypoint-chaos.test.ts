import assert from 'node:assert/strict';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { after, before, describe, it } from 'mocha';
import { ask } from '../../cli/local/http.ts';
import { WAYPOINT_ADMIN_PORT } from '../../cli/local/programs.ts';
import { packageRoot } from '../../lib/package-root.ts';
import { eventually, finished, jsonLines, Mesh } from '../mesh/harness.ts';
import { podManifest } from '../mesh/manifests.ts';
import { object, WAY_BASE, wayService } from '../mesh/waypoint-manifests.ts';
import { LogFollower } from './log-follower.ts';
import { ACTIONS, recovery, seededRandom, type ChaosBackend } from './chaos-actions.ts';

const SECONDS = Number(process.env['LOAM_SOAK_SECONDS'] ?? '600');
const RATE = Number(process.env['LOAM_SOAK_RATE'] ?? '200');
const SEED = Number(process.env['LOAM_SOAK_SEED'] ?? String(Date.now() % 1_000_000));
const SAMPLE_MS = 10_000;
const WARM_UP_MS = 5_000;
const FOLLOW_ON_MS = 35_000;
/** Noise of a garbage collector, and connections that are there at one time and not at another. */
const RSS_SLACK = 1.25;
const FD_SLACK = 40;

interface Failure {
  readonly path: string;
  readonly at: string;
  readonly ms: number;
  readonly method: string;
  readonly how: string;
  readonly status?: number;
  readonly flags?: string;
  readonly why: string;
}

interface LoadResult {
  readonly sent: number;
  readonly good: number;
  readonly goodPosts: number;
  readonly slowestMs: number;
  readonly failures: readonly Failure[];
}

interface Circuit {
  readonly requests: number;
  readonly pending: number;
  readonly connections: number;
}

const POLICY = object('TrafficPolicy', 'web', {
  targetRefs: [{ kind: 'Service', name: 'web' }],
  retries: {
    conditions: ['connect-failure', 'refused-stream', 'reset', 'gateway-error'],
    attempts: 3,
    perTryTimeout: '2500ms',
    budget: { percent: 100 },
  },
  timeouts: { request: '20s', connect: '1s' },
  outlierDetection: {
    consecutiveGatewayErrors: 5,
    interval: '5s',
    baseEjection: '3s',
    maxEjectedPercent: 50,
  },
});

/** What the waypoint says of a request: fields of its access log. */
interface Told {
  readonly path?: string;
  readonly method?: string;
  readonly response_code?: number;
  readonly attempts?: number;
  readonly response_flags?: string;
}

/**
 * Whether the policy promised to save it: a response that had begun, or what is not safe to repeat, it did not. A reset
 * may overtake the response's head on its way to the client, so the waypoint knows whether it had begun.
 */
function wasPromised({ method, why, flags = '' }: Failure, told: Told | undefined): boolean {
  if (why === 'broke off') return false;
  if (why !== 'status' && told?.response_code === 200 && /\b(UC|UR)\b/.test(told.response_flags ?? ''))
    return false;
  if (method !== 'POST') return true;
  // What a POST may be tried again after: nothing of it was sent, or nothing was processed.
  return /\b(UF|UH|UO|UR)\b/.test(flags) || why !== 'status';
}

const median = (values: readonly number[]): number =>
  [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)] ?? 0;

describe('soak: a waypoint through chaos', function () {
  this.timeout(0);
  let mesh: Mesh;
  let backends: ChaosBackend[];

  before(async () => {
    mesh = Mesh.prepare(WAY_BASE);
    backends = ['node-b', 'node-b', 'node-c', 'node-c'].map((node, i) => {
      const name = `web-${i}`;
      const modeFile = join(mesh.dir, `${name}.mode`);
      writeFileSync(modeFile, 'ok');
      const file = join(packageRoot(), 'test', 'soak', 'app', 'chaos-backend.mjs');
      const manifest = podManifest(name, {
        node,
        commands: { server: `node ${file} ${name} ${modeFile}` },
        ports: [8080],
        labels: { role: 'web' },
        serviceAccount: 'web',
      });
      return { name, node, manifest, modeFile };
    });
    for (const { name, manifest } of backends) mesh.write(`${name}.yaml`, manifest);
    mesh.write(
      'web.yaml',
      wayService('web', { waypoint: 'way', selector: { role: 'web' }, ports: { 80: 8080 } }),
    );
    mesh.write('policy.yaml', POLICY);
    await mesh.start();
    console.log(`      logs: ${mesh.paths.waypointLog('m', 'way', 0)}`);
    await eventually('the Service to answer', async () => {
      const { stdout } = await mesh.exec('client', 'curl', '-s', '--max-time', '5', 'http://web/');
      return stdout.trim() === '0';
    });
  });
  after(() => mesh.down());

  const waypoint = () => mesh.program('waypoint', undefined, 'm/way-0');

  async function circuit(): Promise<Circuit> {
    const instance = (await mesh.status()).report.waypoints[0]?.instances[0];
    assert.ok(instance);
    const { body } = await ask({ netns: instance.netns, port: WAYPOINT_ADMIN_PORT }, '/upstreams');
    const { workers } = JSON.parse(body) as {
      workers: { upstreams: { service: string; circuit: Circuit }[] }[];
    };
    const all = workers.flatMap(({ upstreams }) => upstreams.map((upstream) => upstream.circuit));
    const sum = (what: keyof Circuit): number => all.reduce((total, each) => total + each[what], 0);
    return { requests: sum('requests'), pending: sum('pending'), connections: sum('connections') };
  }

  it(`loses nothing that its policy promised to save, and stays as large as it is (seed ${SEED})`, async () => {
    const first = await waypoint();
    const samples: { rssKb: number; fds: number }[] = [];
    const sample = (): void => {
      const status = readFileSync(`/proc/${first.pid}/status`, 'utf8');
      const rssKb = Number(/VmRSS:\s+(\d+)/.exec(status)?.[1]);
      samples.push({ rssKb, fds: readdirSync(`/proc/${first.pid}/fd`).length });
    };
    // Only what is worth telling: those of the good ones at once would be hundreds of thousands.
    const told = new Map<string, { readonly line: string; readonly fields: Told }>();
    const ofOurs: string[] = [];
    let saved = 0;
    const follower = new LogFollower(mesh.paths.waypointLog('m', 'way', 0), (line) => {
      if (/MaxListenersExceeded|an error of ours/.test(line)) ofOurs.push(line);
      if (!line.includes('"path"')) return;
      const fields = JSON.parse(line) as Told;
      if (fields.response_flags !== undefined || fields.response_code !== 200)
        told.set(fields.path ?? '', { line, fields });
      // Sent to the client well, but not by the first attempt.
      else if ((fields.attempts ?? 0) > 1) saved += 1;
    });
    const app = join(packageRoot(), 'test', 'soak', 'app', 'chaos-load.mjs');
    const load = await mesh.spawn('client', 'node', app, 'web', '80', String(RATE));
    const result = finished(load);
    const sampling = setInterval(sample, SAMPLE_MS);
    const random = seededRandom(SEED);
    const done = new Map<string, number>();
    try {
      // Nothing is warm yet, and on a small machine the first requests alone fill it.
      await sleep(WARM_UP_MS);
      const until = Date.now() + SECONDS * 1_000;
      while (Date.now() < until) {
        const [name, act] = Object.entries(ACTIONS)[Math.floor(random() * Object.keys(ACTIONS).length)] ?? [];
        const victim = backends[Math.floor(random() * backends.length)];
        assert.ok(name !== undefined && act !== undefined && victim !== undefined);
        console.log(`      ${new Date().toISOString()} ${name}: ${victim.name} on ${victim.node}`);
        await act(mesh, victim);
        done.set(name, (done.get(name) ?? 0) + 1);
        await recovery(mesh, backends.length);
        await sleep(1_500 + random() * 2_500);
      }
    } finally {
      clearInterval(sampling);
      load.kill('SIGTERM');
      // What it has in flight then may yet be told.
      setTimeout(() => follower.stop(), FOLLOW_ON_MS);
    }
    const { stdout, stderr } = await result;
    const counted = jsonLines(stdout).at(-1) as LoadResult | undefined;
    assert.ok(counted, stderr);
    await sleep(FOLLOW_ON_MS + 2_000);
    sample();
    const promises = (failure: Failure): boolean => wasPromised(failure, told.get(failure.path)?.fields);
    const classes = new Map<string, number>();
    for (const failure of counted.failures) {
      const { method, status, flags, why } = failure;
      const key = `${promises(failure) ? 'PROMISED' : 'not promised'}: ${method} ${why} ${status ?? ''} ${flags ?? ''}`;
      classes.set(key, (classes.get(key) ?? 0) + 1);
    }
    const quarter = Math.max(1, Math.floor(samples.length / 5));
    const [early, late] = [samples.slice(quarter, 2 * quarter), samples.slice(-quarter - 1)];
    const figures = {
      seed: SEED,
      seconds: SECONDS,
      ...{ sent: counted.sent, good: counted.good, goodPosts: counted.goodPosts, saved },
      slowestMs: counted.slowestMs,
      lost: Object.fromEntries(classes),
      actions: Object.fromEntries(done),
      rssMb: [early, late].map((part) => Math.round(median(part.map(({ rssKb }) => rssKb)) / 1024)),
      fds: [early, late].map((part) => median(part.map(({ fds }) => fds))),
      circuit: await circuit(),
    };
    console.log(`      ${JSON.stringify(figures)}`);
    const promised = counted.failures.filter(promises);
    // What a person needs to find out why: what the client saw, and what the waypoint did for it.
    for (const failure of promised.slice(0, 20)) {
      console.log(`      lost: ${JSON.stringify(failure)}`);
      console.log(`        ${told.get(failure.path)?.line ?? 'nothing is told of it'}`);
    }
    assert.deepEqual(promised.slice(0, 5), [], `${promised.length} requests were lost that were promised`);
    assert.ok(counted.good > counted.sent / 2, 'most of it worked');
    assert.equal((await waypoint()).pid, first.pid, 'it is the same process');
    assert.deepEqual(ofOurs, []);
    await eventually('nothing to be in flight', async () => {
      const { requests, pending } = await circuit();
      return requests === 0 && pending === 0;
    });
    const [rssBefore = 0, rssAfter = 0] = figures.rssMb;
    const [fdsBefore = 0, fdsAfter = 0] = figures.fds;
    assert.ok(rssAfter <= rssBefore * RSS_SLACK, `RSS grew from ${rssBefore} to ${rssAfter} MB`);
    assert.ok(fdsAfter <= fdsBefore + FD_SLACK, `descriptors grew from ${fdsBefore} to ${fdsAfter}`);
  });
});
