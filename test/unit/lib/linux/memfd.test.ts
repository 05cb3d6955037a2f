import assert from 'node:assert/strict';
import { closeSync, ftruncateSync, openSync, writeSync } from 'node:fs';
import { describe, it } from 'mocha';
import { readSealed, sealedMemory, sealedSize } from '../../../../lib/linux/memfd.ts';

describe('lib/linux memfd', () => {
  it('holds content that nobody can change any more', () => {
    const content = Buffer.alloc(300_000, 'held ');
    const fd = sealedMemory('test', content);
    try {
      assert.equal(sealedSize(fd), content.length);
      assert.ok(readSealed(fd, content.length).equals(content));
      assert.throws(() => writeSync(fd, 'x', 0), { code: 'EPERM' });
      assert.throws(() => ftruncateSync(fd, 1), { code: 'EPERM' });
    } finally {
      closeSync(fd);
    }
  });

  it('refuses to read what is larger than allowed, not sealed, or no memory', () => {
    const fd = sealedMemory('test', Buffer.alloc(10));
    const file = openSync('/dev/null', 'r');
    try {
      assert.throws(() => readSealed(fd, 9), { errno: 'EFBIG' });
      assert.equal(sealedSize(file), undefined);
      assert.throws(() => readSealed(file, 9), { errno: 'EINVAL' });
    } finally {
      closeSync(fd);
      closeSync(file);
    }
  });
});
