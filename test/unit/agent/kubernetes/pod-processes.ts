/** Real processes in real cgroups with the names that a kubelet gives, and network namespaces of their own. */
import { spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { mkdirSync, readFileSync, rmdirSync } from 'node:fs';
import { basename, join } from 'node:path';
import { cgroup2Root } from '../../../../lib/linux/bpf/cgroup.ts';

export class PodProcesses {
  readonly uid = randomUUID();
  readonly #group: string;
  readonly #children = new Set<ChildProcess>();

  constructor() {
    this.#group = join(cgroup2Root(), `kubepods-loam-test-${process.pid}`, `pod${this.uid}`);
    mkdirSync(this.#group, { recursive: true });
  }

  /**
   * Starts one, and waits until it is where it is to be.
   *
   * @param netns `new`; the id of a process whose namespace it shares; or `node`
   * @param program takes a number of seconds, as sleep does
   */
  async start(
    netns: 'new' | 'node' | number,
    program = 'sleep',
  ): Promise<ChildProcess & { readonly pid: number }> {
    const enter =
      netns === 'new' ? 'unshare --net ' : netns === 'node' ? '' : `nsenter --net=/proc/${netns}/ns/net `;
    const script = `echo $$ > ${this.#group}/cgroup.procs && exec ${enter}sh -c 'echo here; exec ${program} 600'`;
    const child = spawn('sh', ['-c', script], { stdio: ['ignore', 'pipe', 'inherit'] });
    this.#children.add(child);
    await once(child.stdout, 'data');
    while (readFileSync(`/proc/${child.pid}/comm`, 'utf8').trim() !== basename(program))
      await new Promise(setImmediate);
    return child as ChildProcess & { readonly pid: number };
  }

  async end(child: ChildProcess): Promise<void> {
    this.#children.delete(child);
    if (child.exitCode !== null || child.signalCode !== null) return;
    const exited = once(child, 'exit');
    child.kill('SIGKILL');
    await exited;
  }

  async close(): Promise<void> {
    for (const child of [...this.#children]) await this.end(child);
    rmdirSync(this.#group);
    spawnSync('rmdir', ['--ignore-fail-on-non-empty', join(this.#group, '..')]);
  }
}
