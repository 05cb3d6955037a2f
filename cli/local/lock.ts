import { spawn } from 'node:child_process';
import { readdirSync, readFileSync, rmSync, statSync } from 'node:fs';
import { LocalMeshError } from './errors.ts';
import { makePrivateDir } from './files.ts';
import { STATE_ROOT } from './paths.ts';

/** The exit code by which flock(1) says that somebody else holds the lock. */
export const LOCK_TAKEN = 75;

/**
 * Holds the lock until its input ends. Its last holder may have removed the file between our opening and locking it:
 * then what we hold is no lock any more.
 */
const HOLD = `
for fd in /proc/$$/fd/*; do
  if [ "$fd" -ef "$1" ]; then echo held; exec cat >/dev/null; fi
done
exit ${LOCK_TAKEN}
`;

export interface HeldLock extends Disposable {
  readonly path: string;
}

/**
 * Takes a lock that the kernel gives back when its holder dies: flock(1) opens the file and becomes a `cat` that
 * ends with the pipe to this process.
 *
 * @param waitMs how long to wait for another holder; 0: not at all
 * @returns undefined when somebody else holds it, or held it and took it away this moment
 */
export function takeLock(path: string, waitMs = 0): Promise<HeldLock | undefined> {
  makePrivateDir(STATE_ROOT);
  const patience = waitMs > 0 ? ['-w', (waitMs / 1000).toFixed(3)] : ['-n'];
  const child = spawn(
    'flock',
    [...patience, '-E', String(LOCK_TAKEN), '--no-fork', path, 'sh', '-c', HOLD, 'hold', path],
    { stdio: ['pipe', 'pipe', 'inherit'], detached: true },
  );
  child.stdin.on('error', () => undefined);
  return new Promise((resolve, reject) => {
    child.stdout.once('data', () => {
      child.unref();
      (child.stdout as unknown as { unref(): void }).unref();
      (child.stdin as unknown as { unref(): void }).unref();
      resolve({ path, [Symbol.dispose]: () => child.kill('SIGKILL') });
    });
    child.once('error', (error) =>
      reject(
        new LocalMeshError('LOCAL_MESH_COMMAND', `flock (of util-linux) cannot be run: ${error.message}`),
      ),
    );
    child.once('exit', (code) => {
      if (code === LOCK_TAKEN) resolve(undefined);
      else reject(new LocalMeshError('LOCAL_MESH_COMMAND', `flock ${path} ended with ${code ?? 'a signal'}`));
    });
  });
}

/** Whether this process holds the lock file open that is at the path: for a process that flock(1) became. */
export function holdsLockFile(path: string): boolean {
  const file = statSync(path, { throwIfNoEntry: false });
  if (file === undefined) return false;
  return readdirSync('/proc/self/fd').some((fd) => {
    const open = statSync(`/proc/self/fd/${fd}`, { throwIfNoEntry: false });
    return open?.ino === file.ino && open.dev === file.dev;
  });
}

/** The process that took the lock, as /proc/locks names it (proc_locks(5)); undefined when nobody has it. */
export function lockHolder(path: string): number | undefined {
  const file = statSync(path, { throwIfNoEntry: false });
  if (file === undefined) return undefined;
  // Linux's dev_t: the minor number's low byte comes first, its rest above the twelve bits of the major number.
  const major = (file.dev >> 8) & 0xfff;
  const minor = (file.dev & 0xff) | ((file.dev >> 12) & 0xfff00);
  const hex = (value: number): string => value.toString(16).padStart(2, '0');
  const wanted = `${hex(major)}:${hex(minor)}:${file.ino}`;
  for (const line of readFileSync('/proc/locks', 'utf8').split('\n')) {
    // Waiting for it is marked by an arrow after the number.
    const [, kind, , , pid, where] = line.split(/\s+/);
    if (kind === 'FLOCK' && where === wanted && Number(pid) > 0) return Number(pid);
  }
  return undefined;
}

/** Removes a lock's file; only its holder may. Whoever waits for it starts anew with a new file. */
export function removeLockFile(path: string): void {
  rmSync(path, { force: true });
}
