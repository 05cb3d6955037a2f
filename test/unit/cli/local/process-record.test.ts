import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, it } from 'mocha';
import { childrenOf, MESH_MARKER, ProcessRecords, startTime } from '../../../../cli/local/process-record.ts';

let dir: string;
beforeEach(() => (dir = mkdtempSync(join(tmpdir(), 'loam-test-'))));
afterEach(() => rmSync(dir, { recursive: true }));

describe('local mesh: recorded processes', () => {
  it('kills what it recorded, and nothing that only looks like it', async () => {
    const env = (marker: string): NodeJS.ProcessEnv => ({ ...process.env, [MESH_MARKER]: marker });
    const ours = spawn('sleep', ['60'], { env: env('m1') });
    const foreign = spawn('sleep', ['60'], { env: env('m2') });
    const [a, b] = [ours.pid ?? 0, foreign.pid ?? 0];
    const records = new ProcessRecords(dir, 'm1');
    records.add(a);
    // The same pid and start time with another mark; and a pid that was used again since.
    records.add(b);
    writeFileSync(join(dir, `${process.pid}-1`), 'm1');
    assert.ok(childrenOf(process.pid).includes(a));

    const ended = once(ours, 'exit');
    assert.deepEqual(ProcessRecords.killLeftovers(dir), [a]);
    await ended;
    assert.notEqual(startTime(b), undefined, 'the foreign process lives');
    foreign.kill('SIGKILL');
    assert.deepEqual(ProcessRecords.killLeftovers(join(dir, 'absent')), []);
  });

  it('forgets a process that ended', () => {
    const records = new ProcessRecords(dir, 'm');
    records.add(process.pid);
    records.add(process.pid);
    const recorded = (): string[] => readdirSync(dir).filter((name) => !name.startsWith('.'));
    assert.deepEqual(recorded(), [`${process.pid}-${startTime(process.pid)}`]);
    records.remove(process.pid);
    assert.deepEqual(recorded(), []);
    rmSync(dir, { recursive: true });
    records.add(process.pid);
    assert.equal(recorded().length, 1, 'though somebody deleted the folder');
    assert.equal(startTime(2 ** 30), undefined);
  });
});
