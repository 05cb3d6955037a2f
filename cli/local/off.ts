/**
 * `loam off` and `loam on`: plain networking for a pod, the pods of a namespace, or whole nodes. Works on what is pinned in
 * the kernel alone, so that it does while agent, controller and supervisor are away.
 */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { DATAPLANE_MODE_LABEL } from '../../lib/enrolment.ts';
import { OffSwitches, pinnedInstances } from '../../lib/linux/bpf/index.ts';
import { closeFd } from '../../lib/linux/libc.ts';
import { netnsCookie, openNetns } from '../../lib/linux/netns.ts';
import { LocalMeshError } from './errors.ts';
import { agentInstance, DEFAULT_MESH } from './names.ts';
import { meshPaths } from './paths.ts';

/**
 * What to switch. A namespace stands for its pods of this moment; a node is named, or each of the mesh is meant. All is, for `off`,
 * each node, and for `on` whatever is off.
 */
export type OffTarget =
  | { readonly kind: 'all' }
  | { readonly kind: 'pod'; readonly namespace: string; readonly name: string }
  | { readonly kind: 'namespace'; readonly namespace: string }
  | { readonly kind: 'node'; readonly node: string | undefined };

/** One pod or node of a mesh, and since when it is off. */
export interface OffState {
  /** `pod shop/auth` or `node a`. */
  readonly what: string;
  readonly since: Date;
}

/** What was done to one pod or node. */
export interface Switched {
  readonly what: string;
  /** False: it was so already. */
  readonly changed: boolean;
}

interface KnownPod {
  readonly namespace: string;
  readonly name: string;
  readonly netns: string;
}

const FORMS = 'pod NAMESPACE/NAME, namespace NAMESPACE, node [NAME]';

/** The command that undoes `loam off` for what is named, which may be nothing for all of the mesh. */
export function undoText(mesh: string, what: string): string {
  return `loam on ${mesh === DEFAULT_MESH ? '' : `--name ${mesh} `}${what}`.trim();
}

/** Reads the words after `loam off`. Without any, all is meant. @throws LocalMeshError LOCAL_MESH_INPUT */
export function parseTarget(words: readonly string[]): OffTarget {
  const [kind, name, ...more] = words;
  if (more.length === 0) {
    if (kind === undefined) return { kind: 'all' };
    if (kind === 'node') return { kind: 'node', node: name };
    if (kind === 'namespace' && name !== undefined && name !== '') return { kind, namespace: name };
    const pod = /^([^/]+)\/([^/]+)$/.exec(name ?? '');
    if (kind === 'pod' && pod?.[1] !== undefined && pod[2] !== undefined)
      return { kind, namespace: pod[1], name: pod[2] };
  }
  throw new LocalMeshError(
    'LOCAL_MESH_INPUT',
    `${JSON.stringify(words.join(' '))} is not usable; allowed: ${FORMS}`,
  );
}

/**
 * Switches what the target names.
 *
 * @returns each pod and node that was found; of `on` for all, each that was off
 * @throws LocalMeshError LOCAL_MESH_STATE when there is no such mesh, or none of it there; BpfError BPF_LAYOUT and others
 */
export function switchNetworking(mesh: string, target: OffTarget, to: 'off' | 'on'): Switched[] {
  const done: Switched[] = [];
  const nodes = nodesOf(mesh);
  if (nodes.length === 0) throw noLocalMesh(mesh, target);
  for (const node of nodes) {
    using switches = OffSwitches.open(agentInstance(mesh, node));
    if (switches === undefined) continue;
    const turn = (what: string, key: bigint | 'node'): void => {
      done.push({ what, changed: to === 'off' ? switches.turnOff(key) : switches.turnOn(key) });
      // It may have left the mesh meanwhile, and its namespace is enrolled again one day.
      if (to === 'off' && key !== 'node' && !switches.isEnrolled(key)) switches.turnOn(key);
    };
    if (target.kind === 'all' && to === 'on') {
      for (const { what, key } of offOn(mesh, node, switches)) turn(what, key);
      continue;
    }
    if (target.kind === 'all' || target.kind === 'node') {
      if (target.kind === 'all' || target.node === undefined || target.node === node)
        turn(`node ${node}`, 'node');
      continue;
    }
    for (const pod of podsOf(mesh, node)) {
      if (pod.namespace !== target.namespace || (target.kind === 'pod' && pod.name !== target.name)) continue;
      const cookie = cookieOf(pod.netns);
      if (cookie !== undefined && switches.isEnrolled(cookie))
        turn(`pod ${pod.namespace}/${pod.name}`, cookie);
    }
  }
  if (done.length > 0 || target.kind === 'all') return done;
  const what =
    target.kind === 'pod'
      ? `pod ${target.namespace}/${target.name}`
      : `${target.kind} ${'node' in target ? (target.node ?? '') : target.namespace}`;
  throw new LocalMeshError(
    'LOCAL_MESH_STATE',
    `the mesh ${mesh} has no enrolled ${what.trim()} on this machine`,
  );
}

/** Whoever wants a pod of a cluster out of the mesh is told how, since the switches are of a local mesh. */
function noLocalMesh(mesh: string, target: OffTarget): LocalMeshError {
  const object =
    target.kind === 'pod'
      ? `pod --namespace ${target.namespace} ${target.name}`
      : `namespace ${target.kind === 'namespace' ? target.namespace : 'NAMESPACE'}`;
  return new LocalMeshError(
    'LOCAL_MESH_STATE',
    `no local mesh ${mesh} runs on this machine; in a cluster: kubectl label ${object} ${DATAPLANE_MODE_LABEL}=none --overwrite`,
  );
}

/** All that is off in a mesh, as the kernel has it. */
export function switchedOff(mesh: string): OffState[] {
  const found: OffState[] = [];
  for (const node of nodesOf(mesh)) {
    using switches = OffSwitches.open(agentInstance(mesh, node));
    if (switches === undefined) continue;
    for (const { what, since } of offOn(mesh, node, switches)) found.push({ what, since });
  }
  return found;
}

/** What is off on one node, by the names that the agent was given. */
function offOn(
  mesh: string,
  node: string,
  switches: OffSwitches,
): (OffState & { readonly key: bigint | 'node' })[] {
  const off = switches.read();
  const found: (OffState & { readonly key: bigint | 'node' })[] = [];
  if (off.node !== undefined) found.push({ what: `node ${node}`, since: off.node, key: 'node' });
  if (off.pods.size === 0) return found;
  const names = new Map(
    podsOf(mesh, node).map((pod) => [cookieOf(pod.netns), `${pod.namespace}/${pod.name}`]),
  );
  for (const [cookie, since] of off.pods)
    found.push({ what: `pod ${names.get(cookie) ?? `with netns cookie ${cookie}`}`, since, key: cookie });
  return found;
}

/** The nodes of which there are pins: they are in force whether or not anything of the mesh runs. */
function nodesOf(mesh: string): string[] {
  const pinned = new Set(pinnedInstances());
  const folder = join(meshPaths(mesh).dir, 'nodes');
  if (!existsSync(folder)) return [];
  return readdirSync(folder).filter((node) => pinned.has(agentInstance(mesh, node)));
}

/** From the list that the agent was given. */
function podsOf(mesh: string, node: string): KnownPod[] {
  const file = meshPaths(mesh).podsOf(node);
  if (!existsSync(file)) return [];
  return (JSON.parse(readFileSync(file, 'utf8')) as { pods: KnownPod[] }).pods;
}

/** A pod's netns cookie; undefined: its network namespace is gone. */
export function cookieOf(path: string): bigint | undefined {
  let fd: number;
  try {
    fd = openNetns(path);
  } catch {
    return undefined; // the pod is gone, or just going
  }
  try {
    return netnsCookie(fd);
  } finally {
    closeFd(fd);
  }
}
