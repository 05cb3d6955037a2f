import assert from 'node:assert/strict';
import { readdirSync } from 'node:fs';
import { describe, it } from 'mocha';
import { processMemory, threadMemory } from '../../../lib/memory.ts';

describe('lib/memory', () => {
  it('collects what nobody holds, and leaves no collector to other code', async () => {
    const held: Buffer[] = Array.from({ length: 64 }, () => Buffer.alloc(1024 * 1024));
    const before = await threadMemory(true);
    assert.ok(before.arrayBuffers >= held.length * 1024 * 1024);
    // Let go of, which only a debugger could see.
    held.length = 0;
    const after = await threadMemory(true);
    assert.ok(after.arrayBuffers < before.arrayBuffers - 60 * 1024 * 1024, `${after.arrayBuffers} bytes`);
    assert.equal(typeof (globalThis as { gc?: unknown }).gc, 'undefined');
  });

  it('counts descriptors of the process', () => {
    const { descriptors, rss } = processMemory({});
    assert.ok(Math.abs(descriptors - readdirSync('/proc/self/fd').length) <= 2);
    assert.ok(rss > 10 * 1024 * 1024);
  });
});
