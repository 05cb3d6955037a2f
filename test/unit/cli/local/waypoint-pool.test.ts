import assert from 'node:assert/strict';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, afterEach, before, beforeEach, describe, it } from 'mocha';
import { AddressPlan } from '../../../../cli/local/addresses.ts';
import type { Installation } from '../../../../cli/local/installation.ts';
import { LogFile } from '../../../../cli/local/log-file.ts';
import type { MeshNetwork } from '../../../../cli/local/network.ts';
import type { NodePool } from '../../../../cli/local/node-pool.ts';
import { meshPaths } from '../../../../cli/local/paths.ts';
import { ProcessRecords } from '../../../../cli/local/process-record.ts';
import type { TokenFile } from '../../../../cli/local/tokens.ts';
import { WaypointPool } from '../../../../cli/local/waypoint-pool.ts';
import { makeNetns, removeAllNetns, removeNetns } from '../../lib/linux/test-netns.ts';

/** Is ready at once; told to end, it notes that, and does so when it is told again. */
const PROGRAM = `
const { createServer } = require('node:http');
const { appendFileSync } = require('node:fs');
createServer((request, response) => response.end()).listen(15021);
let told = 0;
process.on('SIGTERM', () => {
  told += 1;
  appendFileSync(NOTES, process.pid + ' ' + told + '\\n');
  if (told === 2) process.exit(0);
});
`;

describe('local mesh: the waypoints of a mesh, replaced', function () {
  this.timeout(60_000);
  let dir: string;
  let pool: WaypointPool;
  let plan: AddressPlan;
  let log: LogFile;
  let told: { instance: string; ready: boolean }[][];

  before(() => {
    dir = mkdtempSync(join(tmpdir(), 'loam-test-'));
    for (const [name, program] of [
      ['good', PROGRAM.replace('NOTES', JSON.stringify(join(dir, 'notes')))],
      ['bad', 'process.exit(9)'],
    ] as const) {
      mkdirSync(join(dir, name, 'waypoint'), { recursive: true });
      writeFileSync(join(dir, name, 'waypoint', 'main.js'), program);
    }
  });
  after(() => {
    rmSync(dir, { recursive: true });
  });
  const installation = (name: string): Installation => ({ root: join(dir, name), node: process.execPath });
  const notes = (): string[] => {
    const file = join(dir, 'notes');
    return existsSync(file) ? readFileSync(file, 'utf8').trim().split('\n') : [];
  };

  beforeEach(async () => {
    told = [];
    plan = new AddressPlan(0);
    log = new LogFile(join(dir, 'supervisor.log'));
    const waypoint = (_namespace: string, name: string, index: number): string =>
      `lau${process.pid}${name}${index}`;
    const network = {
      waypoint,
      addWaypoint: (_node: string, _namespace: string, name: string, index: number) =>
        Promise.resolve(makeNetns(`${name}${index}`).name),
      removeWaypoint: (netns: string) => Promise.resolve(removeNetns(netns)),
    };
    pool = new WaypointPool({
      paths: { ...meshPaths('unit'), waypointLog: () => join(dir, 'way.log') },
      plan,
      network: network as unknown as MeshNetwork,
      nodes: { ensure: () => Promise.resolve() } as unknown as NodePool,
      tokens: { issue: () => undefined, revoke: () => undefined } as unknown as TokenFile,
      env: {},
      records: new ProcessRecords(join(dir, 'records'), 'mark'),
      log,
      onChange: () => {
        const now = pool?.assignments()?.['shop/way']?.instances ?? [];
        told.push(now.map(({ name, ready }) => ({ instance: name, ready })));
      },
      installation: installation('good'),
    });
    await pool.apply([{ namespace: 'shop', name: 'way', annotations: {} }], new Set(['node-a']));
    await until(() => pool.all[0]?.ready === true);
  });
  afterEach(async () => {
    await pool.stop();
    log.close();
    removeAllNetns();
    rmSync(join(dir, 'notes'), { force: true });
  });

  async function until(what: () => boolean): Promise<void> {
    while (!what()) await new Promise((resolve) => setTimeout(resolve, 20));
  }
  const names = (): string[] => pool.all.map(({ instance }) => instance);
  const pidOf = (instance = pool.all[0]): number =>
    instance?.state.state === 'running' ? instance.state.pid : 0;

  it('one more is ready before nobody is sent to the former, which then may finish', async () => {
    const former = pidOf();
    told = [];
    const [rolled] = await pool.upgrade(undefined, installation('good'));
    assert.deepEqual(rolled, { formerPid: former, pid: pidOf(), instance: 'shop/way-1', node: 'node-a' });
    assert.deepEqual(names(), ['way-1']);
    // At no moment was nobody there who is ready.
    assert.ok(
      told.every((instances) => instances.some(({ ready }) => ready)),
      JSON.stringify(told),
    );
    assert.deepEqual(
      pool.replaced.map(({ instance }) => instance),
      ['way-0'],
    );
    assert.deepEqual(notes(), [], 'it is not told to end before all have heard');
    await until(() => notes().length === 1);
    assert.deepEqual(notes(), [`${former} 1`]);
    // The next one has neither's place; nothing is done to it by a change of its Gateway.
    await pool.upgrade('node-a', installation('good'));
    assert.deepEqual(names(), ['way-2']);
    await pool.apply([{ namespace: 'shop', name: 'way', annotations: { a: 'b' } }], new Set(['node-a']));
    assert.deepEqual(names(), ['way-2']);
    assert.deepEqual(await pool.upgrade('node-b', installation('good')), []);
  });

  it('one that ends instead of serving is taken away again, and the former serves on', async () => {
    const former = pidOf();
    await assert.rejects(
      pool.upgrade(undefined, installation('bad')),
      /waypoint shop\/way-0: the new one ended: exit code 9/,
    );
    assert.deepEqual(names(), ['way-0']);
    assert.deepEqual([pidOf(), pool.all[0]?.ready], [former, true]);
    assert.deepEqual(notes(), []);
  });

  it('what former ones still serve is cut when the mesh goes down, and their Gateway may go before', async () => {
    const first = pidOf();
    await pool.upgrade(undefined, installation('good'));
    const second = pidOf();
    await until(() => notes().length === 1);
    await pool.apply([], new Set(['node-a']));
    assert.deepEqual(names(), []);
    await pool.stop();
    for (const pid of [first, second]) assert.ok(!existsSync(`/proc/${pid}`));
    assert.ok(notes().includes(`${first} 2`), 'told a second time, not killed');
    assert.deepEqual(pool.replaced, []);
  });
});
