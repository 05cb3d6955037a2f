import { existsSync } from 'node:fs';
import { isAbsolute, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { LocalMeshError } from './errors.ts';

export type ProgramName = 'agent' | 'ztunnel' | 'controller' | 'waypoint';

/** Where the programs of one version of Loam are, and the Node that runs them. */
export interface Installation {
  /** Absolute path of the folder that has one for each program. */
  readonly root: string;
  readonly node: string;
}

/** That of the running command. */
export function ownInstallation(): Installation {
  return { root: fileURLToPath(new URL('../..', import.meta.url)), node: process.execPath };
}

/** The entry of a program; undefined: the installation has none. */
export function entryOf({ root }: Installation, program: ProgramName): string | undefined {
  return ['main.js', 'main.ts'].map((file) => join(root, program, file)).find((path) => existsSync(path));
}

/**
 * Refuses what is none, before anything that runs is touched.
 *
 * @throws LocalMeshError LOCAL_MESH_INPUT
 */
export function checkInstallation(installation: Installation, programs: readonly ProgramName[]): void {
  const { root, node } = installation;
  const missing = programs.filter((program) => entryOf(installation, program) === undefined);
  if (isAbsolute(root) && isAbsolute(node) && missing.length === 0) return;
  const lacks = missing.length === 0 ? 'is no absolute path' : `has no ${missing.join(', ')}`;
  throw new LocalMeshError('LOCAL_MESH_INPUT', `the installation ${JSON.stringify(root)} ${lacks}`);
}
