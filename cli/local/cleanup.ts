import { existsSync, readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { errorText } from '../../lib/loam-error.ts';
import { LocalMeshError } from './errors.ts';
import { removeLockFile, takeLock } from './lock.ts';
import { removeMachineMounts } from './machine-mounts.ts';
import { removeCopy } from './manifest-copy.ts';
import { readMeshFile, type MeshFile } from './mesh-file.ts';
import { deleteNetns, netnsOfMesh } from './network.ts';
import { meshPaths, STATE_ROOT, type MeshPaths } from './paths.ts';
import { ProcessRecords } from './process-record.ts';
import { agentCleanupCommand, programExists } from './programs.ts';
import { tryCommand } from './run-command.ts';
import { meshesWithLock, meshesWithState } from './slots.ts';

/** Where agents keep their pins, by instance (lib/linux/bpf). */
const PINS = '/sys/fs/bpf/loam';
const MACHINE_LOCK = join(STATE_ROOT, 'machine.lock');
const MACHINE_LOCK_WAIT_MS = 60_000;
const AGENT_DYING_MS = 5_000;
const RETRY_MS = 200;

/** Does something while no other mesh of this machine starts or ends. */
export async function withMachineLock<T>(body: () => Promise<T>): Promise<T> {
  const lock = await takeLock(MACHINE_LOCK, MACHINE_LOCK_WAIT_MS);
  if (lock === undefined)
    throw new LocalMeshError(
      'LOCAL_MESH_STATE',
      `another mesh has been starting or ending for ${MACHINE_LOCK_WAIT_MS / 1000} s; who holds ${MACHINE_LOCK}?`,
    );
  try {
    return await body();
  } finally {
    lock[Symbol.dispose]();
  }
}

/**
 * Removes all that a mesh left on the machine: processes, what its agents have in the kernel, network namespaces,
 * manifests made for it, its state. The caller holds the mesh's lock, so nothing of it runs under a supervisor.
 * Each step goes on when another fails.
 *
 * @returns what was found, and what could not be removed
 */
export async function removeMesh(mesh: string): Promise<{ found: string[]; problems: string[] }> {
  const paths = meshPaths(mesh);
  const found: string[] = [];
  const problems: string[] = [];
  const file = readMeshFile(paths);
  const killed = ProcessRecords.killLeftovers(paths.processes);
  if (killed.length > 0) found.push(`${killed.length} processes`);

  await Promise.all(
    instancesOf(mesh, file).map(async (instance) => {
      const problem = await removeFromKernel(instance, paths);
      if (problem !== undefined) problems.push(problem);
    }),
  );
  const names = netnsOfMesh(mesh);
  if (names.length > 0) found.push(`${names.length} network namespaces`);
  await Promise.all(
    names.map((name) => deleteNetns(name).catch((error: unknown) => problems.push(errorText(error)))),
  );
  if (file?.temporaryManifests === true) removeCopy(file.manifests);
  if (existsSync(paths.dir)) {
    found.push('its state');
    if (problems.length === 0) rmSync(paths.dir, { recursive: true, force: true });
  }
  return { found, problems };
}

/** Removes what an agent has in the kernel. An agent that was killed just now may still be dying: then again. */
async function removeFromKernel(instance: string, paths: MeshPaths): Promise<string | undefined> {
  if (!programExists('agent')) return undefined;
  const deadline = Date.now() + AGENT_DYING_MS;
  for (;;) {
    const { code, stdout, stderr } = await tryCommand(agentCleanupCommand(instance, paths));
    if (code === 0) return undefined;
    const said = (stderr || stdout).trim().slice(-400);
    if (Date.now() > deadline) return `agent --cleanup of ${instance} ended with ${code}: ${said}`;
    await sleep(RETRY_MS);
  }
}

/** The BPF instances of a mesh: those it wrote down, and those whose pins are there though its state is not. */
function instancesOf(mesh: string, file: MeshFile | undefined): string[] {
  let pinned: string[];
  try {
    pinned = readdirSync(PINS).filter((name) => name.startsWith(`${mesh}-`));
  } catch {
    pinned = [];
  }
  return [...new Set([...(file?.nodes ?? []).map(({ instance }) => instance), ...pinned])];
}

/**
 * Cleans up after meshes whose supervisor died: whoever holds no lock runs no more.
 *
 * @param except meshes that the caller takes care of itself
 */
export async function sweepDeadMeshes(except: readonly string[], say: (text: string) => void): Promise<void> {
  for (const mesh of new Set([...meshesWithState(), ...meshesWithLock(MACHINE_LOCK)])) {
    if (except.includes(mesh)) continue;
    const lock = await takeLock(meshPaths(mesh).lock);
    if (lock === undefined) continue;
    try {
      const { found, problems } = await removeMesh(mesh);
      if (found.length > 0) say(`removed what the mesh ${mesh} had left behind: ${found.join(', ')}`);
      rmSync(meshPaths(mesh).supervisorOutput, { force: true });
      if (problems.length === 0) removeLockFile(meshPaths(mesh).lock);
      for (const problem of problems) say(`of the mesh ${mesh} something is left: ${problem}`);
    } finally {
      lock[Symbol.dispose]();
    }
  }
}

/** Gives the machine back as it was found, once no mesh is left. The caller holds the machine's lock. */
export async function releaseMachine(): Promise<void> {
  if (meshesWithState().length === 0) await removeMachineMounts();
}
