/** Which pod a process belongs to, by the name of its cgroup: the kubelet's, which only the node's root can choose. */

const UID = '[0-9a-f]{8}(?:[-_][0-9a-f]{4}){3}[-_][0-9a-f]{12}';
/** Of a static pod the kubelet takes the hash of its file (kubernetes.io/config.hash). */
const HASH = '[0-9a-f]{32}';
/** `pod<uid>` of the cgroupfs driver, `kubepods-burstable-pod<uid with _>.slice` of systemd's. */
const POD_GROUP = new RegExp(`^(?:[A-Za-z0-9:._-]*-)?pod(${UID}|${HASH})(?:\\.slice)?$`);

/**
 * Reads /proc/PID/cgroup, of version 1, 2 or both. The outermost group that is a pod's counts: a pod that may make
 * groups of its own makes them below that one, and can give them any name.
 *
 * @returns the pod's uid as its cgroup has it, with hyphens; undefined: of no pod
 */
export function podOfCgroup(text: string): string | undefined {
  if (!text.includes('pod')) return undefined;
  for (const line of text.split('\n')) {
    // cgroups(7): hierarchy:controllers:path
    const path = line.slice(line.indexOf('/') + 1);
    for (const group of path.split('/')) {
      const uid = POD_GROUP.exec(group)?.[1];
      if (uid !== undefined) return uid.replaceAll('_', '-');
    }
  }
  return undefined;
}
