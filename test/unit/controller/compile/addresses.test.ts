import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { blockOf } from '../../../../controller/compile/addresses.ts';

describe('compile/addresses', () => {
  const blocks: readonly [text: string, bytes: readonly number[], length: number][] = [
    ['10.9.9.9/8', [10, 0, 0, 0], 8],
    ['10.9.9.9', [10, 9, 9, 9], 32],
    ['0.0.0.0/0', [0, 0, 0, 0], 0],
    ['::ffff:10.1.2.3', [10, 1, 2, 3], 32],
    ['::ffff:10.1.2.3/104', [10, 0, 0, 0], 8],
    ['::ffff:10.1.2.3/96', [0, 0, 0, 0], 0],
    ['::ffff:10.1.2.3/128', [10, 1, 2, 3], 32],
    ['::a00:1', [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 10, 0, 0, 1], 128],
    ['::/0', Array<number>(16).fill(0), 0],
    ['fd4c:6f61::9/64', [0xfd, 0x4c, 0x6f, 0x61, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], 64],
    ['2001:db8::1/32', [0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], 32],
  ];
  for (const [text, bytes, length] of blocks) {
    it(`reads ${text}`, () => {
      const block = blockOf(text);
      assert.deepEqual([[...block.address], block.length], [bytes, length]);
    });
  }
});
