import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, it } from 'mocha';
import { readIfPresent, writeAtomically, writeIfChanged, writeInPlace } from '../../../../cli/local/files.ts';
import { LogFile } from '../../../../cli/local/log-file.ts';

let dir: string;
beforeEach(() => (dir = mkdtempSync(join(tmpdir(), 'loam-test-'))));
afterEach(() => rmSync(dir, { recursive: true }));

describe('local mesh: files', () => {
  it('writes secrets for root alone, whole', () => {
    const path = join(dir, 'deep', 'token');
    writeAtomically(path, 'secret');
    assert.equal(statSync(path).mode & 0o777, 0o600);
    assert.equal(statSync(join(dir, 'deep')).mode & 0o777, 0o700);
    assert.equal(writeIfChanged(path, 'secret'), false);
    assert.equal(writeIfChanged(path, 'other'), true);
    assert.equal(readIfPresent(join(dir, 'absent')), undefined);
  });

  it('leaves nothing half-written where it cannot write', () => {
    const taken = join(dir, 'taken');
    mkdirSync(join(taken, 'by a folder'), { recursive: true });
    assert.throws(() => writeAtomically(taken, 'text'));
    assert.deepEqual(readdirSync(dir), ['taken']);
  });

  it('keeps the inode of what is mounted elsewhere', () => {
    const path = join(dir, 'hosts');
    writeInPlace(path, 'a long first text\n');
    const { ino } = statSync(path);
    writeInPlace(path, 'short\n');
    assert.equal(readFileSync(path, 'utf8'), 'short\n');
    assert.equal(statSync(path).ino, ino);
  });

  it('keeps a log within its cap, the older part beside it', () => {
    const path = join(dir, 'log');
    const log = new LogFile(path, 10);
    for (const text of ['12345\n', '67890\n', 'abcde\n']) log.write(text);
    log.close();
    log.write('after the end: lost, not thrown');
    assert.equal(readFileSync(path, 'utf8'), 'abcde\n');
    assert.equal(readFileSync(`${path}.1`, 'utf8'), '67890\n');
  });
});
