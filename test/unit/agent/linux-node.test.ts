import assert from 'node:assert/strict';
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, describe, it } from 'mocha';
import { LinuxNode } from '../../../agent/linux-node.ts';
import { cgroup2Root } from '../../../lib/linux/bpf/index.ts';
import { localAddress } from '../../../lib/linux/socket.ts';
import { makeNetns, removeAllNetns, removeNetns } from '../lib/linux/test-netns.ts';

describe('the machine as the agent uses it', () => {
  const node = new LinuxNode(cgroup2Root());

  afterEach(removeAllNetns);

  it('opens a namespace, listens in it, and closes all', () => {
    const { path } = makeNetns('n');
    const netns = node.openNetns(path);
    assert.deepEqual(node.inodeAt(path), netns.inode);
    const listeners = node.listen(netns);
    const fds = [listeners.outbound, listeners.plaintext, listeners.hbone];
    assert.equal(new Set(fds.map((fd) => localAddress(fd).port)).size, 3);
    node.closeListeners(listeners);
    node.closeNetns(netns);
    assert.throws(() => node.closeNetns(netns), { errno: 'EBADF' });
    assert.ok(fds.every((fd) => !existsSync(`/proc/self/fd/${fd}`)));
  });

  it('tells a namespace that is missing from one that is there', () => {
    const dir = mkdtempSync(join(tmpdir(), 'lau-'));
    writeFileSync(join(dir, 'file'), '', { mode: 0 });
    for (const path of [join(dir, 'nothing'), join(dir, 'file'), join(dir, 'file', 'below')]) {
      assert.equal(node.inodeAt(path), undefined, path);
      assert.throws(() => node.openNetns(path), { code: 'NETNS_MISSING' }, path);
    }
    const { name, path } = makeNetns('n');
    const netns = node.openNetns(path);
    removeNetns(name);
    assert.equal(node.inodeAt(path), undefined);
    node.closeNetns(netns);
    rmSync(dir, { recursive: true });
  });

  it('refuses the node’s own namespace', () => {
    assert.throws(() => node.openNetns('/proc/self/ns/net'), { code: 'NETNS_OF_NODE' });
  });
});
