import assert from 'node:assert/strict';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, afterEach, before, describe, it } from 'mocha';
import { checkInstallation, entryOf, ownInstallation } from '../../../../cli/local/installation.ts';
import { LogFile } from '../../../../cli/local/log-file.ts';
import { ManagedProcess } from '../../../../cli/local/managed-process.ts';
import { ProcessRecords } from '../../../../cli/local/process-record.ts';
import { ReplacedProcess } from '../../../../cli/local/replaced-process.ts';
import { REPLACEABLE, readUpgradeRequest } from '../../../../cli/local/upgrade.ts';

const OWN = ownInstallation();
/** Installations that are named by what their program does. */
const LIVES = { root: '/lives', node: process.execPath };
const ENDS = { root: '/ends', node: process.execPath };

describe('local mesh: a program of which there is one at a time', function () {
  this.timeout(60_000);
  let dir: string;
  let made: string[];
  let ready: boolean;
  let replaced: ReplacedProcess;

  before(() => (dir = mkdtempSync(join(tmpdir(), 'loam-test-'))));
  after(() => rmSync(dir, { recursive: true }));
  afterEach(() => replaced.stop(0));

  function make(): ReplacedProcess {
    made = [];
    ready = true;
    replaced = new ReplacedProcess({
      make: ({ root }) => {
        made.push(root);
        const script = root === ENDS.root ? 'process.exit(7)' : 'setInterval(() => undefined, 1000)';
        return new ManagedProcess({
          name: root,
          launch: () => ({ command: [process.execPath, '-e', script], env: {} }),
          log: new LogFile(join(dir, 'log')),
          records: new ProcessRecords(join(dir, 'records'), 'mark'),
          onChange: () => undefined,
        });
      },
      isReady: () => Promise.resolve(ready),
      waitsFor: () => Promise.resolve('the pods'),
      graceMs: 10_000,
    });
    replaced.start();
    return replaced;
  }

  const pid = (): number => {
    assert.equal(replaced.state.state, 'running');
    return replaced.state.state === 'running' ? replaced.state.pid : 0;
  };

  it('is replaced: the former one has ended before the new one begins', async () => {
    const process = make();
    const former = pid();
    const rolled = await process.upgrade(LIVES, 10_000);
    assert.deepEqual(rolled, { formerPid: former, pid: pid() });
    assert.notEqual(rolled.pid, former);
    assert.ok(!existsSync(`/proc/${former}`));
    assert.deepEqual(made, [OWN.root, LIVES.root]);
  });

  it('comes back as it was when the new one ends', async () => {
    const process = make();
    await process.upgrade(LIVES, 10_000);
    ready = false;
    await assert.rejects(process.upgrade(ENDS, 10_000), /the new one ended: exit code 7/);
    assert.ok(pid() > 0);
    assert.deepEqual(made.slice(1), [LIVES.root, ENDS.root, LIVES.root]);
  });

  it('comes back as it was when the new one is not ready in time', async () => {
    const process = make();
    ready = false;
    await assert.rejects(process.upgrade(LIVES, 1), /did not take over in time: the pods/);
    assert.deepEqual(made, [OWN.root, LIVES.root, OWN.root]);
    assert.ok(pid() > 0);
  });

  it('is not replaced twice at once, and not started when it was stopped meanwhile', async () => {
    const process = make();
    ready = false;
    const first = process.upgrade(LIVES, 60_000);
    const refused = assert.rejects(first, /it is taken down/);
    await assert.rejects(process.upgrade(LIVES, 1), /it is being replaced already/);
    await process.stop(0);
    await refused;
    assert.equal(process.state.state, 'stopped');
  });
});

describe('local mesh: what an upgrade is asked for', () => {
  it('is everything by this installation, unless it says otherwise', () => {
    assert.deepEqual(readUpgradeRequest(new URLSearchParams()), { programs: REPLACEABLE, installation: OWN });
    const query = { node: 'node-a', programs: 'waypoint,agent', root: '/opt/loam', exec: '/opt/node' };
    assert.deepEqual(readUpgradeRequest(new URLSearchParams(query)), {
      node: 'node-a',
      programs: ['agent', 'waypoint'],
      installation: { root: '/opt/loam', node: '/opt/node' },
    });
    assert.throws(
      () => readUpgradeRequest(new URLSearchParams({ programs: 'controller' })),
      /"controller" cannot be replaced; allowed: agent, ztunnel, waypoint/,
    );
  });

  it('is refused when the installation has no such program', () => {
    checkInstallation(OWN, REPLACEABLE);
    assert.match(entryOf(OWN, 'agent') ?? '', /\/agent\/main\.[jt]s$/);
    assert.throws(
      () => checkInstallation({ ...OWN, root: '/no/such' }, ['agent', 'waypoint']),
      /the installation "\/no\/such" has no agent, waypoint/,
    );
    assert.throws(() => checkInstallation({ ...OWN, root: '.' }, []), /"\." is no absolute path/);
  });
});
