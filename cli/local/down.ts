import { existsSync, readFileSync, rmSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { removeMesh, releaseMachine, withMachineLock } from './cleanup.ts';
import { LocalMeshError } from './errors.ts';
import { ask } from './http.ts';
import { lockHolder, removeLockFile, takeLock } from './lock.ts';
import { checkMeshName } from './names.ts';
import { meshPaths } from './paths.ts';

/** A supervisor that was told to stop ends within this time, or is said to hang. */
const STOP_TIMEOUT_MS = 30_000;
const POLL_MS = 100;

/** Sends SIGTERM to the supervisor that holds the lock. Another holder, who cleans up or starts, is let alone. */
function signalSupervisor(mesh: string, lock: string): boolean {
  const pid = lockHolder(lock);
  if (pid === undefined) return false;
  try {
    const args = readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0');
    const main = args.findIndex((arg) => /\/supervisor-main\.[jt]s$/.test(arg));
    return main >= 0 && args[main + 1] === mesh && process.kill(pid, 'SIGTERM');
  } catch {
    // It ended in this moment.
    return false;
  }
}

export type DownResult =
  | { readonly was: 'running' }
  | { readonly was: 'left over'; readonly found: readonly string[] }
  | { readonly was: 'absent' };

/** Ends a mesh and removes all of it, also what one that was killed has left. @throws LocalMeshError */
export async function takeDown(meshName: string): Promise<DownResult> {
  const mesh = checkMeshName(meshName);
  const paths = meshPaths(mesh);
  const deadline = Date.now() + STOP_TIMEOUT_MS;
  let told = false;
  for (;;) {
    const lock = await takeLock(paths.lock);
    if (lock !== undefined) {
      try {
        const { found, problems } = await withMachineLock(async () => {
          const result = await removeMesh(mesh);
          await releaseMachine();
          return result;
        });
        rmSync(paths.supervisorOutput, { force: true });
        if (problems.length === 0) removeLockFile(paths.lock);
        if (problems.length > 0) throw new LocalMeshError('LOCAL_MESH_STATE', problems.join('\n'));
        if (told) return { was: 'running' };
        return found.length > 0 ? { was: 'left over', found } : { was: 'absent' };
      } finally {
        lock[Symbol.dispose]();
      }
    }
    told =
      (await ask({ socketPath: paths.controlSocket }, '/stop', 'POST').then(
        () => true,
        () => false,
      )) ||
      told ||
      // Its socket went with its state directory, or is not there yet.
      (!existsSync(paths.controlSocket) && signalSupervisor(mesh, paths.lock));
    if (Date.now() > deadline)
      throw new LocalMeshError(
        'LOCAL_MESH_STATE',
        `the supervisor of mesh ${mesh} does not end; its log: ${paths.supervisorLog}`,
      );
    await sleep(POLL_MS);
  }
}
