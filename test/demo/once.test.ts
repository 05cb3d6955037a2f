import assert from 'node:assert/strict';
import { spawn, type ChildProcess } from 'node:child_process';
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, it } from 'mocha';
import { siblingModule } from '../../lib/package-root.ts';
import { PATIENCE } from '../support/patience.ts';

const EVENTUALLY_MS = 100_000 * PATIENCE;

/** A mesh name of this run's own, so that two runs on one machine leave each other alone. */
const mesh = (test: string): string => `d${process.pid.toString(36)}${test}`;

/** The demo as a user types it, under a mesh name of its own so that it runs beside a user's. */
function demo(name: string, ...args: string[]): ChildProcess & { said: () => string } {
  const main = fileURLToPath(siblingModule(import.meta.url, '../../cli/main'));
  const child = spawn(process.execPath, [main, 'demo', '--name', name, ...args], {
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let said = '';
  for (const stream of [child.stdout, child.stderr])
    stream.on('data', (chunk: Buffer) => (said += chunk.toString()));
  return Object.assign(child, { said: () => said });
}

function ended(child: ChildProcess): Promise<number | NodeJS.Signals> {
  return new Promise((resolve) =>
    child.once('close', (code, signal) => resolve(code ?? (signal as NodeJS.Signals))),
  );
}

async function eventually(what: string, look: () => boolean): Promise<void> {
  const deadline = Date.now() + EVENTUALLY_MS;
  while (!look()) {
    if (Date.now() > deadline) throw new Error(`in vain waited for: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

/** What of the demo is on the machine. */
function traces(name: string, said: string): string[] {
  const list = (dir: string): string[] => (existsSync(dir) ? readdirSync(dir) : []);
  const copy = manifestsOf(said);
  return [
    ...list('/run/netns').filter((each) => each.startsWith(`loam-${name}-`)),
    ...list('/run/loam').filter((each) => each === name),
    ...list('/sys/fs/bpf/loam').filter((each) => each.startsWith(`${name}-`)),
    ...(copy !== undefined && existsSync(copy) ? [copy] : []),
    ...list('/proc').filter((pid) => {
      try {
        return readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes(`/run/loam/${name}/`);
      } catch {
        return false;
      }
    }),
  ];
}

/** The folder that the demo says to edit. */
function manifestsOf(said: string): string | undefined {
  return /edit (\S+)\/routes\/payments\.yaml/.exec(said)?.[1];
}

describe('demo', function () {
  this.timeout(180_000 * PATIENCE);

  it('--once shows the shop as its manifests say, exits with 0, and leaves nothing', async () => {
    const child = demo(mesh('once'), '--once');
    const code = await ended(child);
    const said = child.said();
    assert.equal(code, 0, said);
    for (const line of [
      // Requests, failures of the application, answers of the fallback, and what the client saw of them.
      /frontend → auth +\d+ +\S+ +[1-9]\d* +[1-9]\d* +0 +\d\S* m?s +mTLS {2}shop\/frontend ⇄ shop\/auth\n/,
      // Which of its two callers version 2 fails is chance; that it fails, and that nobody sees it, is below.
      /frontend → payments +\d+ +\S+ +\d+ +0 +0 +\d\S* m?s +mTLS {2}shop\/frontend ⇄ shop\/payments\n/,
      /payments → backend +\d+ +\S+ +0 +0 +0 .* mTLS {2}shop\/payments ⇄ shop\/backend\n/,
      /payments → payments-v1 +90\.0 % +\d\d\.\d % +\d+ +0 +0\n/,
      /backend → db .* mTLS {2}shop\/backend ⇄ shop\/db/,
      /auth ✗ payments POST \/charge +\d+ +0 B +shop\/payments-only-charges/,
      /frontend ✗ payments GET \/charges +\d+ +0 B +shop\/payments-only-charges/,
      /kiosk\/frontend → payments +\d+ +\S+ +\d+ +0 +0 .* mTLS {2}kiosk\/frontend ⇄ shop\/payments\n/,
      // The kiosk's frontend reaches payments and nothing else, inside the mesh and outside, with the reason beside it.
      /kiosk\/frontend ✗ backend +\d+ +0 B +kiosk\/frontend-only-payments +no rule allows Service shop\/backend port 80\n/,
      /kiosk\/frontend ✗ db +\d+ +0 B +kiosk\/frontend-only-payments +no rule allows Service shop\/db port 6379\n/,
      /kiosk\/frontend ✗ kiosk\/printer +\d+ +0 B +kiosk\/frontend-only-payments +no rule allows Service kiosk\/printer port 80\n/,
      /kiosk\/frontend ✗ outside the mesh +\d+ +0 B +kiosk\/frontend-only-payments +no rule allows [0-9.]+:15020\n/,
      /frontend ✗ db +\d+ +0 B +shop\/database-only-from-backend/,
    ])
      assert.match(said, line);
    // It fails each fifth: on a busy machine the canary may have been asked less often than that.
    const canary = /payments → payments-v2 +10\.0 % +\d+\.\d % +(\d+) +(\d+) +0\n/.exec(said);
    assert.ok(canary, said);
    assert.ok(Number(canary[2]) > 0 || Number(canary[1]) < 5, canary[0]);
    assert.ok(!said.includes('\x1b'), 'plain lines without a terminal');
    assert.deepEqual(traces(mesh('once'), said), []);
  });

  it('--once exits with 1 and names what is wrong, when an edit lets through what should be denied', async () => {
    const child = demo(mesh('wrong'), '--once', '--seconds', '20');
    const over = ended(child);
    await eventually('the path to edit', () => manifestsOf(child.said()) !== undefined);
    const policy = join(manifestsOf(child.said()) ?? '', 'policies', 'payments.yaml');
    const text = readFileSync(policy, 'utf8');
    writeFileSync(
      policy,
      text.replace(/(\s+- )cluster.local\/ns\/shop\/sa\/frontend/, '$&$1cluster.local/ns/shop/sa/auth'),
    );
    assert.equal(await over, 1, child.said());
    assert.match(
      child.said(),
      /NOT as the shop's own manifests say:\n(.*\n)* {2}auth → payments: \d+ requests got through, and none should/,
    );
  });

  it('--once exits with 1 when weights are edited, and shows the split that follows them', async () => {
    const child = demo(mesh('split'), '--once', '--seconds', '20');
    const over = ended(child);
    await eventually('the path to edit', () => manifestsOf(child.said()) !== undefined);
    const route = join(manifestsOf(child.said()) ?? '', 'routes', 'payments.yaml');
    writeFileSync(
      route,
      readFileSync(route, 'utf8').replace('weight: 90', 'weight: 50').replace('weight: 10', 'weight: 50'),
    );
    assert.equal(await over, 1, child.said());
    assert.match(child.said(), /payments → payments-v2 +50\.0 % /);
    assert.match(
      child.said(),
      / {2}HTTPRoute\/shop\/payments#0: payments-v2 is configured to get 50\.0 %, not 10\.0 %/,
    );
  });

  it('Ctrl-C, also twice, ends it and removes everything', async () => {
    const child = demo(mesh('intr'));
    const over = ended(child);
    await eventually('the first calls', () => child.said().includes('frontend→payments'));
    assert.notDeepEqual(traces(mesh('intr'), child.said()), []);
    child.kill('SIGINT');
    setTimeout(() => child.kill('SIGINT'), 100);
    await over;
    assert.match(child.said(), /All gone/);
    assert.deepEqual(traces(mesh('intr'), child.said()), []);
  });

  it('leaves alone the mesh of another demo of its name that starts at the same time', async () => {
    const first = demo(mesh('twice'), '--seconds', '3');
    const second = demo(mesh('twice'), '--seconds', '3');
    const codes = await Promise.all([ended(first), ended(second)]);
    const said = first.said() + second.said();
    assert.deepEqual([...codes].sort(), [0, 1], said);
    assert.match(said, /being started or taken down by another process|runs already/);
    assert.deepEqual(traces(mesh('twice'), said), []);
  });

  it('cleans up at once after a supervisor that was killed', async () => {
    const child = demo(mesh('sup'));
    const over = ended(child);
    await eventually('the first calls', () => child.said().includes('frontend→payments'));
    const { supervisorPid } = JSON.parse(readFileSync(`/run/loam/${mesh('sup')}/mesh.json`, 'utf8')) as {
      supervisorPid: number;
    };
    process.kill(supervisorPid, 'SIGKILL');
    assert.equal(await over, 1);
    assert.deepEqual(traces(mesh('sup'), child.said()), []);
    assert.ok(!existsSync('/run/loam/demosup.lock'));
  });

  it('says it when another command takes its mesh down', async () => {
    const child = demo(mesh('down'));
    const over = ended(child);
    await eventually('the first calls', () => child.said().includes('frontend→payments'));
    const main = fileURLToPath(siblingModule(import.meta.url, '../../cli/main'));
    const down = spawn(process.execPath, [main, 'local', 'down', '--name', mesh('down')], {
      stdio: 'ignore',
    });
    assert.equal(await ended(down), 0);
    assert.equal(await over, 1);
    assert.match(child.said(), /was taken down from elsewhere/);
    assert.ok(!/^ +at /m.test(child.said()), child.said());
    assert.deepEqual(traces(mesh('down'), child.said()), []);
  });

  it('ends without a stack trace and leaves nothing when nobody reads its output any more', async () => {
    const child = demo(mesh('pipe'));
    child.stdout?.destroy();
    assert.equal(await ended(child), 141, child.said());
    assert.equal(child.said(), '');
    await eventually('everything to go', () => traces(mesh('pipe'), '').length === 0);
  });

  it('kill -9 of the demo takes the mesh down with it', async () => {
    const child = demo(mesh('kill'));
    const over = ended(child);
    await eventually('the first calls', () => child.said().includes('frontend→payments'));
    child.kill('SIGKILL');
    assert.equal(await over, 'SIGKILL');
    await eventually('everything to go', () => traces(mesh('kill'), child.said()).length === 0);
  });
});
