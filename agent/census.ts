/**
 * Which processes live in which network namespace, and whether the cgroup that the programs are attached at covers
 * them (DESIGN §3's self-test: a process outside it would not be redirected, FINDINGS F5).
 */
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { netnsKey, type ProcessCensus, type UncoveredProcess } from './node-port.ts';

interface Group {
  readonly pids: number[];
  readonly uncovered: UncoveredProcess[];
}

/**
 * Looks through /proc. Processes that end meanwhile are left out.
 *
 * @param cgroupPath folder of the cgroup that the programs are attached at
 */
export function takeCensus(cgroupPath: string, proc = '/proc'): ProcessCensus {
  const root = cgroupName(cgroupPath, readFileSync(`${proc}/self/mountinfo`, 'utf8'));
  const groups = new Map<string, Group>();
  for (const name of readdirSync(proc)) {
    const pid = Number(name);
    if (!Number.isInteger(pid)) continue;
    try {
      const key = netnsKey(statSync(`${proc}/${pid}/ns/net`, { bigint: true }));
      const cgroup = cgroup2Of(readFileSync(`${proc}/${pid}/cgroup`, 'utf8'));
      const group = groups.get(key) ?? { pids: [], uncovered: [] };
      groups.set(key, group);
      group.pids.push(pid);
      if (isCovered(cgroup, root)) continue;
      const command = readFileSync(`${proc}/${pid}/comm`, 'utf8').trim();
      group.uncovered.push({ pid, command, cgroup: cgroup ?? 'none of version 2' });
    } catch {
      // Gone, or a zombie: it opens no more connections.
    }
  }
  return groups;
}

/**
 * Why the programs do not see what a process dials: its cgroup is outside of theirs. Undefined: they do, or it has ended.
 *
 * @param cgroupPath folder of the cgroup that the programs are attached at
 */
export function whyUncovered(pid: number, cgroupPath: string, proc = '/proc'): string | undefined {
  try {
    const cgroup = cgroup2Of(readFileSync(`${proc}/${pid}/cgroup`, 'utf8'));
    const root = cgroupName(cgroupPath, readFileSync(`${proc}/self/mountinfo`, 'utf8'));
    if (isCovered(cgroup, root)) return undefined;
    return `process ${pid} is in cgroup ${cgroup ?? '(none of version 2)'}, outside of ${root ?? cgroupPath}`;
  } catch {
    return undefined;
  }
}

/** The cgroup's name as /proc/PID/cgroup shows it, from its folder and the mounts; undefined: not below any. */
export function cgroupName(folder: string, mountinfo: string): string | undefined {
  let best: { point: string; root: string } | undefined;
  for (const line of mountinfo.split('\n')) {
    // proc(5): id parent major:minor root mount-point options … - type source options
    const [mount = '', type = ''] = line.split(' - ');
    if (!type.startsWith('cgroup2 ')) continue;
    const [, , , root = '', point = ''] = mount.split(' ');
    const below = folder === point || folder.startsWith(point === '/' ? '/' : `${point}/`);
    if (below && (best === undefined || point.length > best.point.length)) best = { point, root };
  }
  if (best === undefined) return undefined;
  const name = `${best.root}/${folder.slice(best.point.length)}`.replace(/\/+/g, '/').replace(/\/$/, '');
  return name === '' ? '/' : name;
}

/** The version 2 line of /proc/PID/cgroup. */
export function cgroup2Of(text: string): string | undefined {
  return /^0::(.*)$/m.exec(text)?.[1];
}

/**
 * True when a cgroup is `root` or below it. In a cgroup namespace of its own, as containers have one with version 2, this
 * process sees what is outside of that as `/../..` and on; so the root of the node is, for example, `/../../..` (cgroup_namespaces(7)).
 */
export function isCovered(cgroup: string | undefined, root: string | undefined): boolean {
  if (cgroup === undefined || root === undefined) return false;
  const [its, roots] = [parsePath(cgroup), parsePath(root)];
  if (its.up > roots.up) return false;
  // What is further up than where both paths part is above all of it.
  if (its.up < roots.up) return roots.down.length === 0;
  return roots.down.every((name, i) => its.down[i] === name);
}

/** How far up from the root of our namespace, and then down which way. */
function parsePath(path: string): { readonly up: number; readonly down: readonly string[] } {
  const names = path.split('/').filter((name) => name !== '');
  const down = names.filter((name) => name !== '..');
  return { up: names.length - down.length, down };
}
