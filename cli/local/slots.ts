import { readdirSync } from 'node:fs';
import { basename } from 'node:path';
import { LocalMeshError } from './errors.ts';
import { AddressPlan, SLOTS } from './addresses.ts';
import { readMeshFile } from './mesh-file.ts';
import { meshPaths, STATE_ROOT } from './paths.ts';

/** The names of all meshes that have state on this machine, running or left over. */
export function meshesWithState(): string[] {
  try {
    return readdirSync(STATE_ROOT, { withFileTypes: true })
      .filter((entry) => entry.isDirectory() && /^[a-z0-9]+$/.test(entry.name))
      .map((entry) => entry.name);
  } catch {
    return [];
  }
}

/**
 * The names of all meshes with a lock file. One without state is just starting, or its supervisor was killed before it
 * could make any.
 *
 * @param machineLock the file of that name is the machine's own
 */
export function meshesWithLock(machineLock: string): string[] {
  try {
    return readdirSync(STATE_ROOT)
      .filter((name) => name !== basename(machineLock) && /^[a-z0-9]+\.lock$/.test(name))
      .map((name) => name.slice(0, -'.lock'.length));
  } catch {
    return [];
  }
}

/** The lowest slot of addresses that no mesh of this machine has. The caller holds the machine's lock. */
export function freePlan(mesh: string): AddressPlan {
  const used = new Set(
    meshesWithState()
      .filter((other) => other !== mesh)
      .map((other) => readMeshFile(meshPaths(other))?.slot),
  );
  for (let slot = 0; slot < SLOTS; slot++) if (!used.has(slot)) return new AddressPlan(slot);
  throw new LocalMeshError('LOCAL_MESH_FULL', `${SLOTS} local meshes exist already: take one down first`);
}
