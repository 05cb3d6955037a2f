import { linkSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

/** The environment variable that marks every process of a mesh; its value is unique to one life of the mesh. */
export const MESH_MARKER = 'LOAM_LOCAL_MESH';

/** The file that all records are links to: a further one needs no room, so that a full disk forgets no process. */
const MARKER_FILE = '.marker';

/** When a process started, in clock ticks since boot: with the pid it names a process for ever (proc(5), field 22). */
export function startTime(pid: number): string | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    // The name in parentheses may hold anything, spaces and parentheses included; field 3 follows the last one.
    return stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19];
  } catch {
    return undefined;
  }
}

/** Whether the process carries the mark in its environment. */
function isMarked(pid: number, marker: string): boolean {
  try {
    return readFileSync(`/proc/${pid}/environ`, 'utf8').split('\0').includes(`${MESH_MARKER}=${marker}`);
  } catch {
    return false;
  }
}

/**
 * Remembers the processes of a mesh on disk, so that whoever cleans up after a crash finds them, and nothing else:
 * a process is ours only if pid, start time and mark all agree.
 */
export class ProcessRecords {
  readonly #dir: string;
  readonly #marker: string;

  constructor(dir: string, marker: string) {
    this.#dir = dir;
    this.#marker = marker;
    this.#prepare();
  }

  add(pid: number): void {
    const started = startTime(pid);
    if (started === undefined) return;
    const record = join(this.#dir, `${pid}-${started}`);
    const link = (): void => linkSync(join(this.#dir, MARKER_FILE), record);
    try {
      link();
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      if (code === 'EEXIST') return;
      // Somebody deleted it all.
      if (code !== 'ENOENT') throw error;
      this.#prepare();
      link();
    }
  }

  #prepare(): void {
    mkdirSync(this.#dir, { recursive: true, mode: 0o700 });
    // Another life of the mesh may have had another mark there; its records keep it.
    rmSync(join(this.#dir, MARKER_FILE), { force: true });
    writeFileSync(join(this.#dir, MARKER_FILE), this.#marker, { mode: 0o600 });
  }

  /** Never throws: that a process ended must be known also where its record was deleted by somebody. */
  remove(pid: number): void {
    for (const file of recordsIn(this.#dir))
      if (file.startsWith(`${pid}-`)) rmSync(join(this.#dir, file), { force: true });
  }

  /**
   * Kills what is left of the recorded processes of a directory.
   *
   * @returns the pids that were killed
   */
  static killLeftovers(dir: string): number[] {
    const killed: number[] = [];
    for (const file of recordsIn(dir)) {
      const [pidText, started] = file.split('-');
      const pid = Number(pidText);
      if (!Number.isInteger(pid) || pid <= 1 || startTime(pid) !== started) continue;
      if (!isMarked(pid, readFileSync(join(dir, file), 'utf8'))) continue;
      try {
        process.kill(pid, 'SIGKILL');
        killed.push(pid);
      } catch {
        // Gone in this moment.
      }
    }
    return killed;
  }
}

function recordsIn(dir: string): string[] {
  try {
    return readdirSync(dir);
  } catch {
    return [];
  }
}

/** The pids of a process's children, by /proc alone. */
export function childrenOf(pid: number): number[] {
  try {
    const children = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim();
    return children === '' ? [] : children.split(' ').map(Number);
  } catch {
    // A kernel without CONFIG_PROC_CHILDREN: look at everyone's parent.
    return readdirSync('/proc')
      .map(Number)
      .filter((other) => Number.isInteger(other) && parentOf(other) === pid);
  }
}

function parentOf(pid: number): number | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    return Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1]);
  } catch {
    return undefined;
  }
}
