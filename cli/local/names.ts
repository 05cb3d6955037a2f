import { createHash } from 'node:crypto';
import { LocalMeshError } from './errors.ts';

/** The mesh that `loam local` means when none is named. */
export const DEFAULT_MESH = 'local';

// No dash: `loam-<mesh>-…` must be read back without doubt when leftovers are looked for.
const MESH_NAME = /^[a-z0-9]{1,12}$/;
/** Its lock would be the machine's (cleanup.ts). */
const RESERVED_NAME = 'machine';
/** Room for the longest name of a file in /run/netns. */
const NETNS_NAME_MAX = 200;
/** The agent's instance names are `[a-z0-9-]{1,32}`. */
const INSTANCE_MAX = 32;

function shortHash(text: string, length: number): string {
  return createHash('sha256').update(text).digest('hex').slice(0, length);
}

/** @throws LocalMeshError when the text cannot name a mesh */
export function checkMeshName(name: string): string {
  if (!MESH_NAME.test(name) || name === RESERVED_NAME) {
    throw new LocalMeshError(
      'LOCAL_MESH_INPUT',
      `mesh name ${JSON.stringify(name)} is not usable; allowed: 1 to 12 lower-case letters and digits, but not ${RESERVED_NAME}`,
    );
  }
  return name;
}

/** What a network namespace is for; its name in `ip netns` is made of it. */
export type NetnsRole =
  | { readonly kind: 'fabric' }
  | { readonly kind: 'control' }
  | { readonly kind: 'node'; readonly node: string }
  | { readonly kind: 'pod'; readonly namespace: string; readonly name: string }
  /** One instance of the waypoint of a Gateway, counted from 0. */
  | { readonly kind: 'waypoint'; readonly namespace: string; readonly name: string; readonly index: number };

/** The name that `ip netns` shows. */
export function netnsName(mesh: string, role: NetnsRole): string {
  const parts = ['loam', mesh, role.kind];
  if (role.kind === 'node') parts.push(role.node);
  if (role.kind === 'pod') parts.push(role.namespace, role.name);
  if (role.kind === 'waypoint') parts.push(`${role.namespace}_${role.name}`, String(role.index));
  const name = parts.join('-');
  return name.length <= NETNS_NAME_MAX
    ? name
    : `${name.slice(0, NETNS_NAME_MAX - 17)}-${shortHash(name, 16)}`;
}

/** The prefix of all network namespaces of a mesh, for finding leftovers. */
export function netnsPrefix(mesh: string): string {
  return `loam-${mesh}-`;
}

/** Where `ip netns` keeps a namespace. */
export function netnsPath(name: string): string {
  return `/run/netns/${name}`;
}

/** The host side of a pod's veth, inside its node's namespace (15 characters at most, kernel IFNAMSIZ). */
export function vethName(namespace: string, pod: string): string {
  return `pod${shortHash(`${namespace}/${pod}`, 11)}`;
}

/** The same for an instance of a waypoint; no pod's name looks like it. */
export function waypointVethName(namespace: string, gateway: string, index: number): string {
  return `wp${shortHash(`${namespace}/${gateway}/${index}`, 11)}`;
}

/** The name under which the agent of a node keeps its BPF pins, unique on the machine. */
export function agentInstance(mesh: string, node: string): string {
  const plain = `${mesh}-${node}`;
  if (plain.length <= INSTANCE_MAX && /^[a-z0-9-]+$/.test(plain)) return plain;
  const hash = shortHash(plain, 8);
  return `${plain.replace(/[^a-z0-9-]/g, '-').slice(0, INSTANCE_MAX - 9)}-${hash}`;
}
