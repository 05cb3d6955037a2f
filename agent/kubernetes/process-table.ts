/**
 * The processes of the node's pods, out of /proc in one pass for all of them. What a process's cgroup is, is asked once
 * for each process and not in every pass: a process is known by its id and the time at which it began.
 */
import { readdirSync, readFileSync, statSync } from 'node:fs';
import type { NetnsInode } from '../../lib/linux/netns.ts';
import type { Clock } from '../clock.ts';
import { podOfCgroup } from './pod-cgroup.ts';

/** A process is put into its pod's cgroup right after it began; one that was in none for so long stays in none. */
const SETTLED_MS = 10_000;
/** proc(5): of /proc/PID/stat, the start is field 22, and the second, in parentheses, may contain anything. */
const START_AFTER_NAME = 19;

/** A process of a pod. */
export interface PodProcess {
  readonly pid: number;
  /** When it began, in the kernel's ticks since the machine started. */
  readonly start: number;
  readonly netns: NetnsInode;
  /** The first 15 bytes of its program's name, which it can change. */
  readonly name: string;
}

interface Known {
  readonly start: number;
  readonly pod: string | undefined;
  readonly seenAt: number;
  pass: number;
}

export class ProcessTable {
  readonly #proc: string;
  readonly #clock: Clock;
  readonly #known = new Map<number, Known>();
  #pass = 0;

  constructor(clock: Clock, proc = '/proc') {
    this.#clock = clock;
    this.#proc = proc;
  }

  /**
   * One pass over all processes.
   *
   * @param pods uids, as the cgroups have them
   * @returns by uid the processes of those pods, the oldest first: that of the sandbox, where it has one
   */
  scan(pods: ReadonlySet<string>): ReadonlyMap<string, readonly PodProcess[]> {
    const found = new Map<string, PodProcess[]>();
    this.#pass += 1;
    for (const entry of readdirSync(this.#proc)) {
      const pid = Number(entry);
      if (!Number.isInteger(pid)) continue;
      const stat = this.#stat(pid);
      if (stat === undefined) continue;
      const pod = this.#podOf(pid, stat.start);
      if (pod === undefined || !pods.has(pod)) continue;
      const netns = this.netnsOf(pid);
      if (netns === undefined) continue;
      const processes = found.get(pod) ?? [];
      processes.push({ pid, ...stat, netns });
      found.set(pod, processes);
    }
    for (const [pid, { pass }] of this.#known) if (pass !== this.#pass) this.#known.delete(pid);
    for (const processes of found.values()) processes.sort((a, b) => a.start - b.start || a.pid - b.pid);
    return found;
  }

  /** One process, if it is there and of this pod. */
  find(pid: number, pod: string): PodProcess | undefined {
    const stat = this.#stat(pid);
    const cgroup = stat && this.#read(`${pid}/cgroup`);
    if (cgroup === undefined || podOfCgroup(cgroup) !== pod) return undefined;
    const netns = this.netnsOf(pid);
    return stat && netns && { pid, ...stat, netns };
  }

  /** Whether this very process is there still, and lives: not a zombie, nor another one that got its id. */
  isAlive({ pid, start }: Pick<PodProcess, 'pid' | 'start'>): boolean {
    return this.#stat(pid)?.start === start;
  }

  /** The file by which a process's network namespace can be opened. */
  netnsPath(pid: number): string {
    return `${this.#proc}/${pid}/ns/net`;
  }

  /** The network namespace that it is in now; undefined: it has ended. */
  netnsOf(pid: number): NetnsInode | undefined {
    try {
      const { dev, ino } = statSync(this.netnsPath(pid), { bigint: true });
      return { dev, ino };
    } catch {
      return undefined;
    }
  }

  #stat(pid: number): { start: number; name: string } | undefined {
    const text = this.#read(`${pid}/stat`);
    if (text === undefined) return undefined;
    const end = text.lastIndexOf(')');
    const fields = text.slice(end + 2).split(' ');
    const start = Number(fields[START_AFTER_NAME]);
    if (fields[0] === 'Z' || fields[0] === 'X' || !Number.isFinite(start)) return undefined;
    return { start, name: text.slice(text.indexOf('(') + 1, end) };
  }

  #podOf(pid: number, start: number): string | undefined {
    const now = this.#clock.now();
    const known = this.#known.get(pid);
    if (known?.start === start && (known.pod !== undefined || now - known.seenAt >= SETTLED_MS)) {
      known.pass = this.#pass;
      return known.pod;
    }
    const text = this.#read(`${pid}/cgroup`);
    if (text === undefined) return undefined;
    const pod = podOfCgroup(text);
    const seenAt = known?.start === start ? known.seenAt : now;
    this.#known.set(pid, { start, pod, seenAt, pass: this.#pass });
    return pod;
  }

  #read(path: string): string | undefined {
    try {
      return readFileSync(`${this.#proc}/${path}`, 'utf8');
    } catch {
      return undefined; // it has ended
    }
  }
}
