import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, it } from 'mocha';
import { LogFile } from '../../../../cli/local/log-file.ts';
import { ManagedProcess } from '../../../../cli/local/managed-process.ts';
import { ProcessRecords } from '../../../../cli/local/process-record.ts';

let dir: string;
beforeEach(() => (dir = mkdtempSync(join(tmpdir(), 'loam-test-'))));
afterEach(() => rmSync(dir, { recursive: true }));

function managed(command: [string, ...string[]]): {
  process: ManagedProcess;
  until: (what: () => boolean) => Promise<void>;
} {
  const waiting: (() => void)[] = [];
  const process = new ManagedProcess({
    name: 'it',
    launch: () => ({ command, env: {} }),
    log: new LogFile(join(dir, 'log')),
    records: new ProcessRecords(join(dir, 'records'), 'm'),
    onChange: () => waiting.forEach((look) => look()),
  });
  const until = (what: () => boolean): Promise<void> =>
    new Promise((resolve) => {
      const look = (): void => {
        if (what()) resolve();
      };
      waiting.push(look);
      look();
    });
  return { process, until };
}

describe('local mesh: a managed process', () => {
  it('is started again when it is killed, and logs', async () => {
    const { process: it, until } = managed(['/bin/sh', '-c', 'echo hello; exec sleep 60']);
    it.start();
    await until(() => it.state.state === 'running');
    const first = it.state.state === 'running' ? it.state.pid : 0;
    process.kill(first, 'SIGKILL');
    await until(() => it.state.state === 'running' && it.state.restarts === 1);
    assert.notEqual(it.state.state === 'running' && it.state.pid, first);
    await it.stop(0);
    assert.deepEqual(it.state, { state: 'stopped' });
    assert.match(readFileSync(join(dir, 'log'), 'utf8'), /-- it ended: SIGKILL/);
  });

  it('says how it ended last while it waits', async () => {
    const { process: it, until } = managed(['/bin/sh', '-c', 'exit 3']);
    it.start();
    await until(() => it.state.state === 'waiting');
    assert.deepEqual(it.state, { state: 'waiting', restarts: 1, lastEnd: 'exit code 3' });
    await it.stop(0);
    assert.deepEqual(it.state, { state: 'stopped' }, 'a stop while it waits ends the waiting');
  });

  it('kills what does not heed SIGTERM', async () => {
    const { process: it, until } = managed(['/bin/sh', '-c', 'trap "" TERM; while :; do sleep 1; done']);
    it.start();
    await until(() => it.state.state === 'running');
    await it.stop(50);
    assert.deepEqual(it.state, { state: 'stopped' });
  });
});
