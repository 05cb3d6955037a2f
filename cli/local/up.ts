import { spawn } from 'node:child_process';
import { closeSync, openSync, readFileSync, statSync } from 'node:fs';
import { resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { siblingModule } from '../../lib/package-root.ts';
import { LocalMeshError } from './errors.ts';
import { makePrivateDir } from './files.ts';
import { LOCK_TAKEN } from './lock.ts';
import { checkMeshName } from './names.ts';
import { meshPaths, STATE_ROOT } from './paths.ts';
import { problemsOf, unacknowledged, waitingText, type Problem } from './problems.ts';
import { meshStatus, supervisorReport, type MeshStatus } from './status.ts';

const POLL_MS = 150;

export interface StartOptions {
  readonly mesh: string;
  readonly manifests: string;
  /** Work on a copy of them that goes with the mesh; its report says where. */
  readonly temporaryManifests?: boolean;
  /** Take the mesh down when this process dies, however it dies. */
  readonly dieWithParent?: boolean;
  /** Settings of programs (LOAM_…) that are not this process's own. */
  readonly settings?: Readonly<Record<string, string>>;
}

/** A supervisor that was started as a process of its own. */
export interface StartedSupervisor {
  readonly pid: number;
  /** The exit code, when it ends. */
  readonly exited: Promise<number>;
  /** What it said, for the case that it fails. */
  said(): string;
}

/** @throws LocalMeshError when it is no directory */
export function checkManifests(dir: string): string {
  const path = resolve(dir);
  if (!statSync(path, { throwIfNoEntry: false })?.isDirectory())
    throw new LocalMeshError('LOCAL_MESH_INPUT', `${path} is not a directory of manifests`);
  return path;
}

/** Starts the supervisor of a mesh in a session of its own. It takes the mesh's lock, or ends at once. */
export function startSupervisor(options: StartOptions): StartedSupervisor {
  const mesh = checkMeshName(options.mesh);
  const manifests = checkManifests(options.manifests);
  makePrivateDir(STATE_ROOT);
  const output = meshPaths(mesh).supervisorOutput;
  const fd = openSync(output, 'w', 0o600);
  const main = fileURLToPath(siblingModule(import.meta.url, './supervisor-main'));
  const child = spawn(
    'setpriv',
    [
      ...(options.dieWithParent === true ? ['--pdeathsig', 'TERM'] : ['--pdeathsig', 'clear']),
      ...[
        '--',
        'flock',
        '--nonblock',
        '--conflict-exit-code',
        String(LOCK_TAKEN),
        '--no-fork',
        meshPaths(mesh).lock,
      ],
      ...[process.execPath, '--disable-sigusr1', '--enable-source-maps', main],
      ...[mesh, manifests, options.temporaryManifests === true ? 'temporary' : 'kept'],
    ],
    { cwd: '/', stdio: ['ignore', fd, fd], detached: true, env: { ...process.env, ...options.settings } },
  );
  closeSync(fd);
  child.unref();
  const exited = new Promise<number>((resolve) => {
    child.once('error', () => resolve(127));
    child.once('exit', (code) => {
      resolve(code ?? 128);
    });
  });
  return { pid: child.pid ?? -1, exited, said: () => textOf(output) };
}

/** What is in a file; nothing when it went with the mesh. */
function textOf(path: string): string {
  try {
    return readFileSync(path, 'utf8').trim();
  } catch {
    return '';
  }
}

/** The mesh's report, or undefined when none of that name answers. */
export async function runningMesh(
  mesh: string,
): Promise<Awaited<ReturnType<typeof supervisorReport>> | undefined> {
  return supervisorReport(mesh).catch(() => undefined);
}

export interface WaitOptions {
  readonly mesh: string;
  readonly timeoutMs: number;
  /** Told whenever what is waited for changes. */
  readonly onWaiting: (problems: readonly Problem[]) => void;
  readonly signal?: AbortSignal;
}

/**
 * Waits until everything of a mesh is ready.
 *
 * @throws LocalMeshError when its supervisor ends, or when it is not ready in time, naming what it waits for
 */
export async function waitUntilReady(
  options: WaitOptions,
  supervisor?: StartedSupervisor,
): Promise<MeshStatus> {
  const deadline = Date.now() + options.timeoutMs;
  let ended: number | undefined;
  void supervisor?.exited.then((code) => (ended = code));
  let last = '';
  let blocking: Problem[] = [];
  while (Date.now() < deadline && options.signal?.aborted !== true) {
    if (ended !== undefined) throw supervisorEnded(options.mesh, ended, supervisor?.said() ?? '');
    const status = await meshStatus(options.mesh).catch(() => undefined);
    if (status !== undefined) {
      blocking = problemsOf(status).filter((problem) => problem.blocksStart);
      if (blocking.length === 0) blocking = unacknowledged(status);
      if (blocking.length === 0) return status;
      const now = waitingText(blocking);
      if (now !== last) options.onWaiting(blocking);
      last = now;
    }
    await sleep(POLL_MS);
  }
  if (options.signal?.aborted === true) throw new LocalMeshError('LOCAL_MESH_STATE', 'interrupted');
  const missing = blocking.map(({ what, why }) => `\n  ${what}: ${why}`).join('');
  throw new LocalMeshError(
    'LOCAL_MESH_NOT_READY',
    `the mesh ${options.mesh} is not ready after ${options.timeoutMs / 1000} s; still waiting for:${missing || ' its supervisor'}\nlogs: ${meshPaths(options.mesh).logs}`,
  );
}

function supervisorEnded(mesh: string, code: number, said: string): LocalMeshError {
  if (code === LOCK_TAKEN)
    return new LocalMeshError(
      'LOCAL_MESH_STATE',
      `the mesh ${mesh} is being started or taken down by another process; try again in a moment`,
    );
  // It ends in good order only when somebody tells it to.
  if (code === 0)
    return new LocalMeshError('LOCAL_MESH_STATE', `the mesh ${mesh} was taken down while it started`);
  return new LocalMeshError(
    'LOCAL_MESH_NOT_READY',
    `the supervisor of mesh ${mesh} ended (${code}): ${said}`,
  );
}
