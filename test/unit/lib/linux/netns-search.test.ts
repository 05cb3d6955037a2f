import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { statSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, describe, it } from 'mocha';
import { closeFd } from '../../../../lib/linux/libc.ts';
import { findNetns } from '../../../../lib/linux/netns-search.ts';
import { netnsCookie, netnsInode, openNetns, sameNetns } from '../../../../lib/linux/netns.ts';
import { makeNetns, removeAllNetns, removeNetns } from './test-netns.ts';

describe('finding network namespaces by their cookies', () => {
  afterEach(() => removeAllNetns());

  it('finds one that is mounted, and one that only a process lives in', async () => {
    const mounted = makeNetns('f');
    const lived = makeNetns('g');
    const fds = [mounted, lived].map(({ path }) => openNetns(path));
    const cookies = fds.map(netnsCookie);
    const inhabitant = spawn('nsenter', [`--net=${lived.path}`, 'sleep', '60']);
    try {
      const { ino } = netnsInode(fds[1] ?? -1);
      while (statSync(`/proc/${inhabitant.pid}/ns/net`, { bigint: true }).ino !== ino) await sleep(5);
      removeNetns(lived.name);
      const found = findNetns(new Set([...cookies, 1n << 60n]));
      assert.deepEqual([...found.keys()].sort(), [...cookies].sort());
      for (const [i, cookie] of cookies.entries()) {
        const fd = found.get(cookie) ?? -1;
        assert.ok(sameNetns(netnsInode(fd), netnsInode(fds[i] ?? -1)));
        closeFd(fd);
      }
    } finally {
      inhabitant.kill();
      await once(inhabitant, 'exit');
      fds.forEach(closeFd);
    }
    assert.equal(findNetns(new Set(cookies.slice(1))).size, 0, 'nobody lives there any more');
  });
});
