import { spawn } from 'node:child_process';
import { LocalMeshError } from './errors.ts';
import { makePrivateDir } from './files.ts';
import { STATE_ROOT } from './paths.ts';

/** The exit code by which flock(1) says that somebody else holds the lock. */
const TAKEN = 75;

export interface HeldLock extends Disposable {
  readonly path: string;
}

/**
 * Takes a lock that the kernel gives back when its holder dies: flock(1) opens the file and becomes a `cat` that
 * ends with the pipe to this process.
 *
 * @param waitMs how long to wait for another holder; 0: not at all
 * @returns undefined when somebody else holds it
 */
export function takeLock(path: string, waitMs = 0): Promise<HeldLock | undefined> {
  makePrivateDir(STATE_ROOT);
  const patience = waitMs > 0 ? ['-w', (waitMs / 1000).toFixed(3)] : ['-n'];
  const child = spawn(
    'flock',
    [...patience, '-E', String(TAKEN), '--no-fork', path, 'sh', '-c', 'echo held; exec cat >/dev/null'],
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
      if (code === TAKEN) resolve(undefined);
      else reject(new LocalMeshError('LOCAL_MESH_COMMAND', `flock ${path} ended with ${code ?? 'a signal'}`));
    });
  });
}
