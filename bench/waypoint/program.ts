import { type ChildProcess, spawn } from 'node:child_process';
import { closeSync, openSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { netnsOf, type Place } from './plan.ts';

const STOP_MS = 8_000;
/** Of /proc/PID/stat (proc(5)): USER_HZ is 100 on every Linux that Node runs on. */
const TICKS_PER_SECOND = 100;
const UTIME = 11;
const STIME = 12;

/** A process of the measurement inside one of its namespaces, with a log file. */
export class Program {
  /** Those that have not ended. */
  static readonly running = new Set<Program>();
  readonly child: ChildProcess;
  readonly #name: string;
  readonly #log: string;

  /** @param stdin whether it listens on its standard input, and writes what it found to its standard output */
  constructor(folder: string, name: string, place: Place, command: readonly string[], stdin = false) {
    this.#name = name;
    this.#log = join(folder, `${name}.log`);
    const log = openSync(this.#log, 'a');
    // nsenter becomes the program: its pid is the program's.
    this.child = spawn('nsenter', [`--net=/run/netns/${netnsOf(place)}`, '--', ...command], {
      stdio: [stdin ? 'pipe' : 'ignore', stdin ? 'pipe' : log, log],
    });
    closeSync(log);
    Program.running.add(this);
    this.child.once('exit', () => Program.running.delete(this));
  }

  get pid(): number {
    if (this.child.pid === undefined) throw new Error(`${this.#name} did not start`);
    return this.child.pid;
  }

  get log(): string {
    return readFileSync(this.#log, 'utf8');
  }

  /** Waits until a condition holds. @throws Error with the end of its log when it ends before, or after 60 s */
  async until(what: string, holds: () => boolean | Promise<boolean>): Promise<void> {
    for (let i = 0; i < 600; i++) {
      if (this.#ended) throw new Error(`${this.#name} ended: ${this.log.slice(-2000)}`);
      if (await holds()) return;
      await sleep(100);
    }
    throw new Error(`${this.#name}: waited 60 s in vain for ${what}: ${this.log.slice(-2000)}`);
  }

  async stop(): Promise<void> {
    if (this.#ended || this.child.pid === undefined) return;
    const gone = new Promise((resolve) => this.child.once('exit', resolve));
    this.child.kill('SIGTERM');
    const killer = setTimeout(() => this.child.kill('SIGKILL'), STOP_MS);
    await gone;
    clearTimeout(killer);
  }

  get #ended(): boolean {
    return this.child.exitCode !== null || this.child.signalCode !== null;
  }
}

/** CPU seconds, user and system, that a process and its descendants have used; threads are counted by the kernel. */
export function cpuSeconds(pid: number): number {
  return withDescendants(pid).reduce((sum, each) => {
    const fields = statFields(each);
    return sum + (Number(fields[UTIME] ?? 0) + Number(fields[STIME] ?? 0)) / TICKS_PER_SECOND;
  }, 0);
}

/** Memory of a process and its descendants in bytes, each shared page counted by its share (PSS). */
export function memoryBytes(pid: number): number {
  return withDescendants(pid).reduce((sum, each) => {
    const rollup = readFileSync(`/proc/${each}/smaps_rollup`, 'utf8');
    return sum + Number(/^Pss:\s+(\d+) kB$/m.exec(rollup)?.[1] ?? 0) * 1024;
  }, 0);
}

function withDescendants(root: number): number[] {
  const parents = new Map<number, number>();
  for (const name of readdirSync('/proc')) {
    const pid = Number(name);
    if (!Number.isInteger(pid)) continue;
    try {
      parents.set(pid, Number(statFields(pid)[1]));
    } catch {
      // It ended meanwhile.
    }
  }
  const found = [root];
  for (const each of found) {
    for (const [pid, parent] of parents) if (parent === each) found.push(pid);
  }
  return found;
}

/** The fields after the command's name, which may hold blanks: state, parent, … */
function statFields(pid: number): string[] {
  const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
  return stat.slice(stat.lastIndexOf(')') + 2).split(' ');
}
