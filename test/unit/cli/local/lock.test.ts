import assert from 'node:assert/strict';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, it } from 'mocha';
import { holdsLockFile, lockHolder, removeLockFile, takeLock } from '../../../../cli/local/lock.ts';

let dir: string;
beforeEach(() => (dir = mkdtempSync(join(tmpdir(), 'loam-test-'))));
afterEach(() => rmSync(dir, { recursive: true }));

describe('local mesh: locks', () => {
  it('has one holder at a time, and can be waited for', async () => {
    const path = join(dir, 'lock');
    const first = await takeLock(path);
    assert.ok(first);
    assert.equal(await takeLock(path), undefined);
    const waiting = takeLock(path, 20_000);
    first[Symbol.dispose]();
    const second = await waiting;
    assert.ok(second, 'whoever waited has it');
    second[Symbol.dispose]();
  });

  it('tells who holds it', async () => {
    const path = join(dir, 'lock');
    assert.equal(lockHolder(path), undefined);
    const lock = await takeLock(path);
    assert.ok(lock);
    const pid = lockHolder(path);
    assert.ok(pid !== undefined && readFileSync(`/proc/${pid}/comm`, 'utf8') === 'cat\n', String(pid));
    lock[Symbol.dispose]();
  });

  it('a lock whose file was taken away is none', async () => {
    const path = join(dir, 'lock');
    const first = await takeLock(path);
    assert.ok(first);
    const waiting = takeLock(path, 20_000);
    // It has the file open by now, or opens a new one: either way it must not hold what is not there.
    await new Promise((resolve) => setTimeout(resolve, 100));
    removeLockFile(path);
    first[Symbol.dispose]();
    const second = await waiting;
    assert.ok(second === undefined || existsSync(path), 'a held lock has a file at its path');
    second?.[Symbol.dispose]();
    assert.equal(holdsLockFile(path), false, 'this process itself has none open');
  });
});
