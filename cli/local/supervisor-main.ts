import { rmSync } from 'node:fs';
import { errorText } from '../../lib/loam-error.ts';
import { holdsLockFile, LOCK_TAKEN, removeLockFile } from './lock.ts';
import { meshPaths } from './paths.ts';
import { Supervisor } from './supervisor.ts';

/**
 * The process that is the supervisor of one mesh: `supervisor-main MESH DIR temporary|kept`, started by up.ts under
 * flock(1), so that the descriptor it inherits is the mesh's lock.
 */
const [mesh, manifests, lifetime] = process.argv.slice(2);
if (mesh === undefined || manifests === undefined) {
  console.error('supervisor-main: is started by `loam local up`');
  process.exit(2);
}
const paths = meshPaths(mesh);
if (!holdsLockFile(paths.lock)) {
  console.error(`supervisor-main: does not hold ${paths.lock}`);
  process.exit(LOCK_TAKEN);
}
const supervisor = new Supervisor({ mesh, manifests, temporaryManifests: lifetime === 'temporary' });
for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP'] as const) process.on(signal, () => supervisor.stop());
// A fault in one part must not leave the machine half cleaned: it ends the mesh in the ordinary way.
for (const event of ['uncaughtException', 'unhandledRejection'] as const) {
  process.on(event, (error: unknown) => {
    console.error(`loam: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}`);
    process.exitCode = 1;
    supervisor.stop();
  });
}
try {
  await supervisor.run();
  if (process.exitCode === undefined) rmSync(paths.supervisorOutput, { force: true });
} catch (error) {
  console.error(`loam: ${errorText(error)}`);
  process.exitCode = 1;
}
removeLockFile(paths.lock);
process.exit();
