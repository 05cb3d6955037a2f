import { readIfPresent, writeAtomically } from './files.ts';
import type { MeshPaths } from './paths.ts';

/** What a supervisor writes down about itself before it makes anything, for whoever finds the mesh later. */
export interface MeshFile {
  readonly mesh: string;
  readonly slot: number;
  readonly manifests: string;
  /** A folder of manifests that was made for this mesh alone and goes with it. */
  readonly temporaryManifests: boolean;
  readonly supervisorPid: number;
  /** BPF instances of its agents, to be removed. */
  readonly nodes: readonly { readonly node: string; readonly instance: string }[];
}

export function writeMeshFile(paths: MeshPaths, file: MeshFile): void {
  writeAtomically(paths.meshFile, `${JSON.stringify(file, null, 1)}\n`);
}

/**
 * What the last supervisor wrote; undefined when there is none, or it is not what one writes: what the mesh has left is then found by
 * its name.
 */
export function readMeshFile(paths: MeshPaths): MeshFile | undefined {
  try {
    const text = readIfPresent(paths.meshFile);
    const read: unknown = text === undefined ? undefined : JSON.parse(text);
    return isMeshFile(read) ? read : undefined;
  } catch {
    return undefined;
  }
}

function isMeshFile(value: unknown): value is MeshFile {
  if (typeof value !== 'object' || value === null) return false;
  const { mesh, slot, manifests, temporaryManifests, supervisorPid, nodes } = value as Record<
    string,
    unknown
  >;
  return (
    typeof mesh === 'string' &&
    Number.isInteger(slot) &&
    typeof manifests === 'string' &&
    typeof temporaryManifests === 'boolean' &&
    Number.isInteger(supervisorPid) &&
    Array.isArray(nodes) &&
    nodes.every((each: unknown) => {
      const { node, instance } = (each ?? {}) as Record<string, unknown>;
      return typeof node === 'string' && typeof instance === 'string';
    })
  );
}
