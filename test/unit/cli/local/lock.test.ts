import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, it } from 'mocha';
import { takeLock } from '../../../../cli/local/lock.ts';

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
});
