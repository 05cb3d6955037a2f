import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { describe, it } from 'mocha';
import { cgroup2Of, cgroupName, isCovered, takeCensus, whyUncovered } from '../../../agent/census.ts';
import { netnsKey } from '../../../agent/node-port.ts';
import { cgroup2Root } from '../../../lib/linux/bpf/index.ts';
import { closeFd } from '../../../lib/linux/libc.ts';
import { netnsInode, openCurrentNetns } from '../../../lib/linux/netns.ts';

const MOUNTS = `22 1 0:20 / /sys/fs/cgroup ro,nosuid shared:9 - tmpfs tmpfs ro
30 22 0:27 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw
31 22 0:27 /node-7 /mnt/nested rw shared:3 master:1 - cgroup2 cgroup2 rw`;

describe('which processes redirection covers', () => {
  it('knows a cgroup by its folder, also where only a part of the hierarchy is mounted', () => {
    assert.equal(cgroupName('/sys/fs/cgroup/unified', MOUNTS), '/');
    assert.equal(cgroupName('/sys/fs/cgroup/unified/a/b', MOUNTS), '/a/b');
    assert.equal(cgroupName('/mnt/nested', MOUNTS), '/node-7');
    assert.equal(cgroupName('/mnt/nested/pods', MOUNTS), '/node-7/pods');
    assert.equal(cgroupName('/mnt/nestedness', MOUNTS), undefined);
  });

  it('takes what is below for covered, and nothing else', () => {
    const cases: [string | undefined, string | undefined, boolean][] = [
      ['/', '/', true],
      ['/any', '/', true],
      ['/a', '/a', true],
      ['/a/b', '/a', true],
      ['/ab', '/a', false],
      ['/', '/a', false],
      ['/../other', '/', false],
      ['/../../system.slice/kubelet.service', '/../../..', true],
      ['/', '/../../..', true],
      ['/../other', '/../other', true],
      ['/../other/x', '/../other', true],
      ['/../another', '/../other', false],
      ['/../../other', '/../other', false],
      ['/here', '/../other', false],
      [undefined, '/', false],
      ['/a', undefined, false],
    ];
    for (const [cgroup, root, covered] of cases)
      assert.equal(isCovered(cgroup, root), covered, `${cgroup} ${root}`);
    assert.equal(cgroup2Of('5:cpu:/x\n0::/y z\n'), '/y z');
    assert.equal(cgroup2Of('5:cpu:/x\n'), undefined);
  });

  it('finds this process in its namespace, covered by the root and not by a group that it is not in', () => {
    const fd = openCurrentNetns();
    const key = netnsKey(netnsInode(fd));
    closeFd(fd);
    const root = cgroup2Root();
    const group = takeCensus(root).get(key);
    assert.ok(group?.pids.includes(process.pid));
    assert.ok(!group?.uncovered.some(({ pid }) => pid === process.pid));
    const uncovered = takeCensus(`${root}/no-such-group`).get(key)?.uncovered;
    assert.equal(whyUncovered(process.pid, root), undefined);
    assert.match(whyUncovered(process.pid, `${root}/no-such-group`) ?? '', /outside of \/.*no-such-group$/);
    const self = uncovered?.find(({ pid }) => pid === process.pid);
    assert.equal(self?.cgroup, cgroup2Of(readFileSync('/proc/self/cgroup', 'utf8')));
  });
});
