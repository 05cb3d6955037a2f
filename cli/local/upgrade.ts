import { LocalMeshError } from './errors.ts';
import { ask } from './http.ts';
import { ownInstallation, type Installation } from './installation.ts';
import { meshPaths } from './paths.ts';
import type { Rolled } from './takeover.ts';

/** More than new ones may take, on each of many nodes. */
const TIMEOUT_MS = 600_000;

/** What can be replaced under load, in the order in which it is: an agent before the ztunnel that it serves. */
export const REPLACEABLE = ['agent', 'ztunnel', 'waypoint'] as const;
export type Replaceable = (typeof REPLACEABLE)[number];

/** What became of one program. */
export interface Upgraded extends Rolled {
  readonly program: Replaceable;
  readonly node: string;
  /** Of a waypoint: the new one. */
  readonly instance?: string;
}

/** What to replace, and by what. */
export interface UpgradeRequest {
  /** On this node only. */
  readonly node?: string;
  /** All of them by default. */
  readonly programs?: readonly Replaceable[];
  /** That of the running command by default. */
  readonly installation?: Installation;
}

/**
 * Has the supervisor of a mesh replace programs, one after the other, by those of an installation.
 *
 * @throws LocalMeshError LOCAL_MESH_STATE: a new one did not take over, and the one before it serves on
 */
export async function upgradeMesh(mesh: string, request: UpgradeRequest = {}): Promise<readonly Upgraded[]> {
  const { node, programs = REPLACEABLE, installation = ownInstallation() } = request;
  const query = new URLSearchParams({
    programs: programs.join(),
    root: installation.root,
    exec: installation.node,
    ...(node === undefined ? {} : { node }),
  });
  const socketPath = meshPaths(mesh).controlSocket;
  const { status, body } = await ask({ socketPath }, `/upgrade?${query.toString()}`, 'POST', TIMEOUT_MS);
  if (status !== 200) throw new LocalMeshError('LOCAL_MESH_STATE', body.trim());
  return JSON.parse(body) as Upgraded[];
}

/**
 * Reads what {@link upgradeMesh} asks for.
 *
 * @throws LocalMeshError LOCAL_MESH_INPUT
 */
export function readUpgradeRequest(
  query: URLSearchParams,
): Required<Omit<UpgradeRequest, 'node'>> & UpgradeRequest {
  const node = query.get('node');
  const own = ownInstallation();
  return {
    ...(node === null ? {} : { node }),
    programs: readPrograms(query.get('programs') ?? REPLACEABLE.join()),
    installation: { root: query.get('root') ?? own.root, node: query.get('exec') ?? own.node },
  };
}

/** @throws LocalMeshError LOCAL_MESH_INPUT */
export function readPrograms(text: string): readonly Replaceable[] {
  const names = text.split(',');
  const unknown = names.find((name) => !REPLACEABLE.some((each) => each === name));
  if (unknown === undefined) return REPLACEABLE.filter((each) => names.includes(each));
  throw new LocalMeshError(
    'LOCAL_MESH_INPUT',
    `${JSON.stringify(unknown)} cannot be replaced; allowed: ${REPLACEABLE.join(', ')}`,
  );
}
