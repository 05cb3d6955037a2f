import { readdirSync } from 'node:fs';
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
