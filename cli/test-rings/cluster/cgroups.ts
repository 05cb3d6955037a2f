/** A node's own place in every cgroup hierarchy: what a cgroup namespace that is made there shows as the root. */
import { existsSync, mkdirSync, readdirSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { ClusterPlan, NodePlan } from './plan.ts';

const MOUNT = '/sys/fs/cgroup';
const REMOVE_TRIES = 50;
const REMOVE_WAIT_MS = 100;
/** Of a whole cluster, by v1 and v2: as much as eight processes. */
const WEIGHTS = [
  ['cpu.shares', '8192'],
  ['cpu.weight', '800'],
] as const;

/** v2: one hierarchy with all controllers. v1: one for each controller, and beside them perhaps v2's, with none. */
export function cgroupVersion(): 1 | 2 {
  return existsSync(join(MOUNT, 'cgroup.controllers')) ? 2 : 1;
}

/** Folders of the groups that this process is in, by hierarchy (cgroups(7), /proc/PID/cgroup). */
function ownGroups(): { readonly controllers: string; readonly folder: string }[] {
  return readFileSync('/proc/self/cgroup', 'utf8')
    .trim()
    .split('\n')
    .flatMap((line) => {
      const [, controllers = '', path = ''] = /^\d+:([^:]*):(.*)$/.exec(line) ?? [];
      const mount =
        controllers === '' ? (cgroupVersion() === 2 ? '' : 'unified') : controllers.replace('name=', '');
      // On v2 processes may stand in leaves only, and a group with controllers for its children is none: beside this one.
      const folder = cgroupVersion() === 2 ? MOUNT : join(MOUNT, mount, path);
      return existsSync(folder) ? [{ controllers, folder }] : [];
    });
}

function clusterGroup(plan: ClusterPlan): string {
  return plan.netnsPrefix.slice(0, -1);
}

/** Makes the node's groups. @returns their folders; the node's first process joins each */
export function makeGroups(plan: ClusterPlan, node: NodePlan): string[] {
  return ownGroups().map(({ controllers, folder }) => {
    const cluster = join(folder, clusterGroup(plan));
    const own = join(cluster, node.name);
    mkdirSync(own, { recursive: true });
    if (cgroupVersion() === 2) for (const group of [folder, cluster]) delegate(group);
    if (controllers.split(',').includes('cpuset')) for (const group of [cluster, own]) inheritCpus(group);
    weigh(cluster);
    return own;
  });
}

/** Lets a group's children have all controllers that it has. */
function delegate(group: string): void {
  const controllers = readFileSync(join(group, 'cgroup.controllers'), 'utf8').trim().split(/\s+/);
  for (const name of controllers) writeFileSync(join(group, 'cgroup.subtree_control'), `+${name}`);
}

/** A group counts as one process of the machine's, however many there are in it: a whole cluster would stand still beside a compiler. */
function weigh(group: string): void {
  for (const [file, weight] of WEIGHTS)
    if (existsSync(join(group, file))) writeFileSync(join(group, file), weight);
}

/** On v1 a new cpuset is empty, and admits no process. */
function inheritCpus(group: string): void {
  for (const file of ['cpuset.cpus', 'cpuset.mems'])
    writeFileSync(join(group, file), readFileSync(join(group, '..', file)));
}

/** Removes the groups of a cluster whose processes are dead or dying. @returns those that stayed */
export async function removeGroups(plan: ClusterPlan): Promise<string[]> {
  const left = new Set(
    ownGroups()
      .map(({ folder }) => join(folder, clusterGroup(plan)))
      .filter((folder) => existsSync(folder)),
  );
  for (let tries = 0; left.size > 0 && tries < REMOVE_TRIES; tries += 1) {
    if (tries > 0) await sleep(REMOVE_WAIT_MS);
    for (const folder of left) if (removeTree(folder)) left.delete(folder);
  }
  return [...left];
}

/** A group goes when it has no process and no child any more. */
function removeTree(folder: string): boolean {
  try {
    for (const entry of readdirSync(folder, { withFileTypes: true }))
      if (entry.isDirectory()) removeTree(join(folder, entry.name));
    rmdirSync(folder);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'ENOENT';
  }
}
