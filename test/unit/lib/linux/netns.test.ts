import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readlinkSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Worker } from 'node:worker_threads';
import { afterEach, beforeEach, describe, it } from 'mocha';
import { closeFd } from '../../../../lib/linux/libc.ts';
import {
  inNetns,
  isNetns,
  netnsCookie,
  netnsInode,
  openCurrentNetns,
  openNetns,
  sameNetns,
} from '../../../../lib/linux/netns.ts';
import { siblingModule } from '../../../../lib/package-root.ts';
import { makeNetns, removeAllNetns } from './test-netns.ts';

const here = (): string => readlinkSync('/proc/thread-self/ns/net');

describe('network namespaces', () => {
  let fd: number;
  let path: string;

  beforeEach(() => {
    ({ path } = makeNetns('a'));
    fd = openNetns(path);
  });

  afterEach(() => {
    closeFd(fd);
    removeAllNetns();
  });

  it('enters for one synchronous body and comes back, nested and after a throw too', () => {
    const home = here();
    const inside = inNetns(fd, here);
    assert.notEqual(inside, home);
    assert.equal(here(), home);
    const back = openCurrentNetns();
    const nested = inNetns(fd, () => [here(), inNetns(back, here), here()]);
    assert.deepEqual(nested, [inside, home, inside]);
    assert.throws(() => inNetns(fd, () => inNetns(back, () => assert.fail('thrown'))), /thrown/);
    assert.equal(here(), home);
    closeFd(back);
  });

  it('refuses an asynchronous body, from home', () => {
    const home = here();
    assert.throws(() => inNetns(fd, () => Promise.resolve()), TypeError);
    assert.equal(here(), home);
  });

  it('reads the cookie that the kernel gave it, and its inode', () => {
    const other = openNetns(makeNetns('b').path);
    const again = openNetns(path);
    assert.ok(netnsCookie(fd) > 0n);
    assert.equal(netnsCookie(fd), netnsCookie(again));
    assert.notEqual(netnsCookie(fd), netnsCookie(other));
    assert.ok(sameNetns(netnsInode(fd), netnsInode(again)));
    assert.ok(!sameNetns(netnsInode(fd), netnsInode(other)));
    assert.equal(`net:[${netnsInode(fd).ino}]`, inNetns(fd, here));
    closeFd(other);
    closeFd(again);
  });

  it('refuses what is no network namespace, by name, without blocking on it', () => {
    const dir = mkdtempSync(join(tmpdir(), 'lau-'));
    const file = join(dir, 'file');
    writeFileSync(file, '');
    execFileSync('mkfifo', [join(dir, 'fifo')]);
    for (const wrong of [file, join(dir, 'fifo'), dir, '/proc/self/ns/mnt']) {
      assert.throws(
        () => openNetns(wrong),
        { code: 'SYSTEM_CALL', errno: 'EINVAL', call: 'openNetns' },
        wrong,
      );
    }
    assert.throws(() => openNetns(join(dir, 'nothing')), {
      errno: 'ENOENT',
      message: /open\(.*nothing\) failed with ENOENT/,
    });
    assert.ok(isNetns(fd));
    rmSync(dir, { recursive: true });
  });

  it('works in several threads at once, each with a home of its own', async () => {
    const module = (name: string): string =>
      siblingModule(import.meta.url, `../../../../lib/linux/${name}`).href;
    const code = `
      import { parentPort } from 'node:worker_threads';
      import { readlinkSync } from 'node:fs';
      const { inNetns, openNetns } = await import('${module('netns')}');
      const { listenSteered, closeFd } = await import('${module('socket')}');
      const here = () => readlinkSync('/proc/thread-self/ns/net');
      const home = here();
      const fd = openNetns('${path}');
      let strays = 0;
      for (let i = 0; i < 200; i += 1) {
        if (inNetns(fd, here) === home) strays += 1;
        closeFd(listenSteered({ netnsFd: fd }));
        if (here() !== home) strays += 1;
      }
      parentPort.postMessage({ strays, home });`;
    const file = join(mkdtempSync(join(tmpdir(), 'lau-')), 'thread.mjs');
    writeFileSync(file, code);
    const run = (): Promise<{ strays: number; home: string }> =>
      new Promise((resolve, reject) => {
        new Worker(file).once('message', resolve).once('error', reject);
      });
    const results = await Promise.all([run(), run(), run()]);
    assert.deepEqual(
      results,
      results.map(() => ({ strays: 0, home: here() })),
    );
    rmSync(join(file, '..'), { recursive: true });
  });
});
