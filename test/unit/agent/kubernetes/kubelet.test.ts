import assert from 'node:assert/strict';
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, copyFileSync, mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, it } from 'mocha';
import { KubeletFinder, type FoundKubelet } from '../../../../agent/kubernetes/kubelet-finder.ts';
import { KubeletWatch } from '../../../../agent/kubernetes/kubelet-watch.ts';
import { closeFd } from '../../../../lib/linux/libc.ts';
import { netnsCookie, openCurrentNetns } from '../../../../lib/linux/netns.ts';
import type { Kubelet } from '../../../../lib/linux/bpf/index.ts';
import { FakeClock, FakeLog } from '../fakes.ts';
import { PodProcesses } from './pod-processes.ts';

// Not `kubelet`: a cluster may run on this machine.
const PROGRAM = `kubelet-${process.pid}`.slice(0, 15);

describe("the node's kubelet", () => {
  let folder: string;
  let children: ChildProcess[];
  let finder: KubeletFinder;

  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'loam-kubelet-'));
    copyFileSync('/bin/sleep', join(folder, PROGRAM));
    children = [];
    finder = new KubeletFinder({ program: PROGRAM });
  });
  afterEach(async () => {
    for (const child of children) await end(child);
    rmSync(folder, { recursive: true });
  });

  /** @param before words of the command line before the program */
  async function start(...before: string[]): Promise<number> {
    const [command = '', ...args] = [...before, join(folder, PROGRAM), '600'];
    const child = spawn(command, args, { stdio: 'ignore' });
    children.push(child);
    const { pid = 0 } = child;
    while (readFileSync(`/proc/${pid}/comm`, 'utf8').trim() !== PROGRAM) await new Promise(setImmediate);
    return pid;
  }

  async function end(child: ChildProcess): Promise<void> {
    if (child.exitCode !== null || child.signalCode !== null) return;
    const exited = once(child, 'exit');
    child.kill('SIGKILL');
    await exited;
  }

  it('is found, and told from others by what no other process has', async () => {
    assert.equal(finder.look(), undefined);
    const pid = await start();
    const found = finder.look();
    assert.equal(found?.hostPid, pid);
    assert.equal(
      found.pid,
      Number(/^NSpid:.*\s(\d+)$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]),
    );
    assert.equal(found.pidNamespace, statSync(`/proc/${pid}/ns/pid`).ino);
    assert.equal(
      String(found.start),
      readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]?.split(' ')[19],
    );
    const fd = openCurrentNetns();
    assert.equal(found.netns, netnsCookie(fd));
    closeFd(fd);
    assert.equal(finder.look(), found, 'the same object as long as it lives');
  });

  it('is found anew when it was restarted', async () => {
    await start();
    finder.look();
    await end(children[0] as ChildProcess);
    assert.equal(finder.look(), undefined);
    const pid = await start();
    assert.equal(finder.look()?.hostPid, pid);
  });

  it('is not what runs in a network namespace of its own, nor as anybody but root', async () => {
    await start('unshare', '--net');
    assert.equal(finder.look(), undefined);
    // The program must be within reach of everybody.
    chmodSync(folder, 0o755);
    await start('setpriv', '--reuid=65534', '--clear-groups');
    assert.equal(finder.look(), undefined);
  });

  it('is not what runs in a pod, though the pod is on the network of the node', async () => {
    const pod = new PodProcesses();
    const child = await pod.start('node', join(folder, PROGRAM));
    assert.equal(readFileSync(`/proc/${child.pid}/comm`, 'utf8').trim(), PROGRAM);
    assert.equal(finder.look(), undefined);
    await pod.close();
  });

  it('is not what only calls itself so', async () => {
    const child = spawn('sh', ['-c', `printf ${PROGRAM} >/proc/$$/comm; echo here; read -r line`], {
      stdio: ['pipe', 'pipe', 'ignore'],
    });
    children.push(child);
    await once(child.stdout, 'data');
    assert.equal(readFileSync(`/proc/${child.pid}/comm`, 'utf8').trim(), PROGRAM);
    assert.equal(finder.look(), undefined);
  });

  describe('as the kernel is told of it', () => {
    let clock: FakeClock;
    let log: FakeLog;
    let found: FoundKubelet | undefined;
    let told: (Kubelet | undefined)[];
    let unseen: string | undefined;
    let watch: KubeletWatch;
    const kubelet = (pid: number): FoundKubelet => ({
      netns: 1n,
      start: 5,
      pid,
      pidNamespace: 9,
      hostPid: pid,
    });

    beforeEach(() => {
      clock = new FakeClock();
      log = new FakeLog();
      told = [];
      unseen = undefined;
      const whyUnseen = (): string | undefined => unseen;
      const setKubelet = (now: Kubelet | undefined): void => void told.push(now);
      watch = new KubeletWatch({ finder: { look: () => found }, setKubelet, whyUnseen, clock, log });
      found = kubelet(7);
      watch.start();
    });

    it('is another within a moment of its restart, and none in between', () => {
      assert.deepEqual(told, [kubelet(7)]);
      assert.equal(watch.pid, 7);
      found = undefined;
      clock.advance(500);
      found = kubelet(8);
      clock.advance(500);
      assert.deepEqual(told, [kubelet(7), undefined, kubelet(8)]);
      assert.equal(log.count('no kubelet runs on the node'), 1);
    });

    it('is told again, in case that somebody took it away, and by nobody after the end', () => {
      clock.advance(10_000);
      assert.equal(told.length, 2);
      watch.close();
      clock.advance(60_000);
      assert.equal(told.length, 2);
    });

    it('is said to be out of sight where its cgroup is', () => {
      assert.equal(watch.problem, undefined);
      unseen = 'process 7 is in cgroup /x, outside of /y';
      clock.advance(10_000);
      assert.equal(watch.problem, unseen);
      assert.equal(log.count('outside of /y'), 1);
      unseen = undefined;
      clock.advance(10_000);
      assert.equal(watch.problem, undefined);
    });

    it('is tried again when the kernel did not take it', () => {
      const failing = new KubeletWatch({
        finder: { look: () => found },
        setKubelet: (now) => {
          told.push(now);
          if (told.length < 3) throw new Error('no room');
        },
        whyUnseen: () => undefined,
        clock,
        log,
      });
      failing.start();
      assert.equal(failing.pid, undefined);
      clock.advance(1000);
      assert.equal(failing.pid, 7);
      assert.equal(log.count('no room'), 1);
    });
  });
});
