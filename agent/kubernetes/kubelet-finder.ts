/**
 * The node's kubelet among its processes. Its probes come in plaintext and without an identity, and must reach the
 * applications all the same; nobody else's connections may (bpf/probes.h).
 */
import { readdirSync, readFileSync, readlinkSync, statSync } from 'node:fs';
import { basename } from 'node:path';
import type { Kubelet } from '../../lib/linux/bpf/index.ts';
import { closeFd } from '../../lib/linux/libc.ts';
import { netnsCookie, openCurrentNetns } from '../../lib/linux/netns.ts';
import { podOfCgroup } from './pod-cgroup.ts';

/** proc(5): of /proc/PID/stat, after the name in parentheses, the start is the twentieth. */
const START_AFTER_NAME = 19;

export interface KubeletFinderOptions {
  /** Its program's file name, as the node's distribution calls it. */
  readonly program: string;
  readonly proc?: string;
}

/** A kubelet that was found; `hostPid` is its id as this process sees it. */
export interface FoundKubelet extends Kubelet {
  readonly hostPid: number;
}

export class KubeletFinder {
  readonly #program: string;
  readonly #proc: string;
  #found: FoundKubelet | undefined;

  constructor({ program, proc = '/proc' }: KubeletFinderOptions) {
    this.#program = program;
    this.#proc = proc;
  }

  /**
   * Looks whether the kubelet that was found lives, and else for another: a process of root in the network namespace of
   * the node, outside of all pods, that runs this program.
   *
   * @returns the same object as long as it is the same process; undefined: there is none now
   */
  look(): FoundKubelet | undefined {
    if (this.#found !== undefined && this.#startOf(this.#found.hostPid) === this.#found.start)
      return this.#found;
    this.#found = undefined;
    for (const entry of readdirSync(this.#proc)) {
      const pid = Number(entry);
      if (!Number.isInteger(pid) || !this.#isKubelet(pid)) continue;
      this.#found = this.#read(pid);
      if (this.#found !== undefined) break;
    }
    return this.#found;
  }

  #isKubelet(pid: number): boolean {
    try {
      // The name is quick to read and anybody's to choose; what it runs, and as whom, is not.
      if (!readFileSync(this.#path(pid, 'comm'), 'utf8').startsWith(this.#program.slice(0, 15))) return false;
      const exe = basename(readlinkSync(this.#path(pid, 'exe')).replace(/ \(deleted\)$/, ''));
      const name = basename(readFileSync(this.#path(pid, 'cmdline'), 'utf8').split('\0')[0] ?? '');
      if (exe !== this.#program && name !== this.#program) return false;
      const { uid } = statSync(this.#path(pid, ''));
      const own = statSync(`${this.#proc}/self/ns/net`, { bigint: true });
      const its = statSync(this.#path(pid, 'ns/net'), { bigint: true });
      return (
        uid === 0 &&
        its.ino === own.ino &&
        podOfCgroup(readFileSync(this.#path(pid, 'cgroup'), 'utf8')) === undefined
      );
    } catch {
      return false; // it has ended, or is none that we may look at
    }
  }

  #read(pid: number): FoundKubelet | undefined {
    try {
      const start = this.#startOf(pid);
      const ids =
        /^NSpid:\s*(.*)$/m.exec(readFileSync(this.#path(pid, 'status'), 'utf8'))?.[1]?.split(/\s+/) ?? [];
      const pidNamespace = Number(statSync(this.#path(pid, 'ns/pid')).ino);
      if (start === undefined) return undefined;
      return { netns: cookieOfNode(), start, pid: Number(ids.at(-1) ?? pid), pidNamespace, hostPid: pid };
    } catch {
      return undefined;
    }
  }

  #startOf(pid: number): number | undefined {
    try {
      const stat = readFileSync(this.#path(pid, 'stat'), 'utf8');
      const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
      return fields[0] === 'Z' ? undefined : Number(fields[START_AFTER_NAME]);
    } catch {
      return undefined;
    }
  }

  #path(pid: number, file: string): string {
    return `${this.#proc}/${pid}/${file}`;
  }
}

function cookieOfNode(): bigint {
  const fd = openCurrentNetns();
  try {
    return netnsCookie(fd);
  } finally {
    closeFd(fd);
  }
}
