import assert from 'node:assert/strict';
import { statSync } from 'node:fs';
import { afterEach, beforeEach, describe, it } from 'mocha';
import { systemClock } from '../../../../agent/clock.ts';
import { NetnsFinder } from '../../../../agent/kubernetes/netns-finder.ts';
import { ProcessTable } from '../../../../agent/kubernetes/process-table.ts';
import { PodProcesses } from './pod-processes.ts';

const netnsOf = (pid: number): bigint => statSync(`/proc/${pid}/ns/net`, { bigint: true }).ino;
const ofNode = [statSync('/proc/self/ns/net', { bigint: true })];

describe("finding pods' network namespaces by their processes", () => {
  let pod: PodProcesses;
  let finder: NetnsFinder;
  const look = (search = true, sandbox?: number): boolean =>
    finder.look(new Map([[pod.uid, sandbox]]), search);

  beforeEach(() => {
    pod = new PodProcesses();
    finder = new NetnsFinder({ table: new ProcessTable(systemClock), ofNode });
  });
  afterEach(async () => {
    finder.close();
    await pod.close();
  });

  it('finds it, and none before there is one', async () => {
    assert.equal(look(), true);
    assert.equal(finder.of(pod.uid), undefined);
    const sandbox = await pod.start('new');
    assert.equal(look(), false);
    const found = finder.of(pod.uid);
    assert.equal(found?.inode.ino, netnsOf(sandbox.pid));
    assert.equal(statSync(found.path, { bigint: true }).ino, netnsOf(sandbox.pid));
    assert.equal(found.inhabited, true);
  });

  it("never takes the node's for a pod's", async () => {
    await pod.start('node');
    assert.equal(look(), true);
    assert.equal(finder.of(pod.uid), undefined);
    assert.equal(finder.processesOf(pod.uid).length, 1);
    const sandbox = await pod.start('new');
    look();
    assert.equal(finder.of(pod.uid)?.inode.ino, netnsOf(sandbox.pid));
  });

  it('takes one by the path that a network plugin was told, until a process of the pod shows another', async () => {
    const other = new PodProcesses();
    try {
      const told = await other.start('new');
      finder.adopt(pod.uid, '/proc/self/ns/net');
      assert.equal(finder.of(pod.uid), undefined, "the node's is never taken");
      finder.adopt(pod.uid, '/there/is/none');
      assert.equal(finder.of(pod.uid), undefined);
      finder.adopt(pod.uid, `/proc/${told.pid}/ns/net`);
      const adopted = finder.of(pod.uid);
      assert.deepEqual([adopted?.inode.ino, adopted?.inhabited], [netnsOf(told.pid), false]);
      assert.equal(look(), true, 'nobody is in it yet');
      assert.equal(finder.of(pod.uid)?.inode.ino, netnsOf(told.pid));
      const sandbox = await pod.start('new');
      assert.equal(look(), false);
      assert.equal(finder.of(pod.uid)?.inode.ino, netnsOf(sandbox.pid));
      finder.adopt(pod.uid, `/proc/${told.pid}/ns/net`);
      assert.equal(finder.of(pod.uid)?.inode.ino, netnsOf(sandbox.pid), 'processes count for more');
    } finally {
      await other.close();
    }
  });

  it("takes the sandbox's, not one that a container made inside of the pod", async () => {
    const sandbox = await pod.start('new');
    await pod.start('new');
    look();
    assert.equal(finder.of(pod.uid)?.inode.ino, netnsOf(sandbox.pid));
  });

  it('goes on when the process by which it was found ends and another is there', async () => {
    const first = await pod.start('new');
    const second = await pod.start(first.pid);
    look();
    const before = finder.of(pod.uid);
    await pod.end(first);
    assert.equal(look(false), true, 'the witness has ended');
    assert.equal(finder.of(pod.uid)?.path, before?.path);
    assert.equal(look(), false);
    assert.deepEqual(finder.of(pod.uid), before);
    assert.equal(before?.inode.ino, netnsOf(second.pid));
  });

  it('keeps the namespace of a pod whose processes have all ended, and takes the new one of a new sandbox', async () => {
    const first = await pod.start('new');
    look();
    const before = finder.of(pod.uid);
    await pod.end(first);
    assert.equal(look(), true);
    assert.deepEqual(finder.of(pod.uid), { ...before, inhabited: false });
    assert.equal(statSync(before?.path ?? '', { bigint: true }).ino, before?.inode.ino, 'still held');
    const second = await pod.start('new');
    assert.equal(look(), false);
    const now = finder.of(pod.uid);
    assert.equal(now?.inode.ino, netnsOf(second.pid));
    assert.notEqual(now.path, before?.path);
  });

  it('follows the sandbox that the runtime tells of, without a pass over all processes', async () => {
    const first = await pod.start('new');
    assert.equal(look(false, first.pid), false);
    assert.equal(finder.of(pod.uid)?.inode.ino, netnsOf(first.pid));
    const second = await pod.start('new');
    assert.equal(look(false, second.pid), false);
    assert.equal(finder.of(pod.uid)?.inode.ino, netnsOf(second.pid));
  });

  it('does not believe the runtime about a process that is not of the pod', async () => {
    const foreign = new PodProcesses();
    const sandbox = await foreign.start('new');
    assert.equal(look(false, sandbox.pid), true);
    assert.equal(look(false, process.pid), true);
    assert.equal(finder.of(pod.uid), undefined);
    await foreign.close();
  });

  it('lets go of a pod that nobody asks for any more', async () => {
    await pod.start('new');
    look();
    const path = finder.of(pod.uid)?.path ?? '';
    assert.equal(finder.look(new Map(), true), false);
    assert.equal(finder.of(pod.uid), undefined);
    assert.throws(() => statSync(path), /ENOENT/);
  });

  it('sees a process that came into its cgroup only after it was looked at', async () => {
    const table = new ProcessTable(systemClock);
    table.scan(new Set([pod.uid]));
    const late = await pod.start('new');
    assert.deepEqual(
      table
        .scan(new Set([pod.uid]))
        .get(pod.uid)
        ?.map(({ pid, name }) => [pid, name]),
      [[late.pid, 'sleep']],
    );
  });

  it('does not take a process for an earlier one that had its id', async () => {
    const one = await pod.start('new');
    const table = new ProcessTable(systemClock);
    const [found] = table.scan(new Set([pod.uid])).get(pod.uid) ?? [];
    assert.ok(found);
    assert.equal(table.isAlive(found), true);
    assert.equal(table.isAlive({ pid: one.pid, start: found.start - 1 }), false);
    await pod.end(one);
    assert.equal(table.isAlive(found), false);
  });
});
