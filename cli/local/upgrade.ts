import { LocalMeshError } from './errors.ts';
import { ask } from './http.ts';
import { meshPaths } from './paths.ts';
import type { Rolled } from './rolling-process.ts';

/** More than a new ztunnel may take, for each of many nodes. */
const TIMEOUT_MS = 600_000;

/** What became of one node. */
export interface Upgraded extends Rolled {
  readonly node: string;
}

/**
 * Has the supervisor of a mesh replace the ztunnel of a node, or of all, one after the other: the new one starts from
 * the program that is installed now.
 *
 * @throws LocalMeshError LOCAL_MESH_STATE: a new one did not take over, and the one before it serves on
 */
export async function upgradeMesh(mesh: string, node?: string): Promise<readonly Upgraded[]> {
  const query = node === undefined ? '' : `?node=${encodeURIComponent(node)}`;
  const socketPath = meshPaths(mesh).controlSocket;
  const { status, body } = await ask({ socketPath }, `/upgrade${query}`, 'POST', TIMEOUT_MS);
  if (status !== 200) throw new LocalMeshError('LOCAL_MESH_STATE', body.trim());
  return JSON.parse(body) as Upgraded[];
}
