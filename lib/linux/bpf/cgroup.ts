/** Where to attach: the root of the cgroup v2 hierarchy that this process sees. */
import { readFileSync } from 'node:fs';
import { BpfError } from './errors.ts';

/** One line of /proc/self/mounts. */
export interface Mount {
  readonly source: string;
  readonly path: string;
  readonly type: string;
}

/** The mounts of this process (proc(5): spaces and backslashes in paths are octal escapes). */
export function mounts(table = '/proc/self/mounts'): Mount[] {
  const unescape = (text: string) =>
    text.replace(/\\([0-7]{3})/g, (_, octal: string) => String.fromCharCode(parseInt(octal, 8)));
  return readFileSync(table, 'utf8')
    .split('\n')
    .flatMap((line) => {
      const [source, path, type] = line.split(' ');
      if (source === undefined || path === undefined || type === undefined) return [];
      return [{ source: unescape(source), path: unescape(path), type }];
    });
}

/**
 * The mount point of cgroup v2: `/sys/fs/cgroup`, or beside a v1 hierarchy for example `/sys/fs/cgroup/unified`.
 *
 * @throws BpfError BPF_NO_CGROUP2
 */
export function cgroup2Root(table?: string): string {
  const found = mounts(table).find((mount) => mount.type === 'cgroup2');
  if (found) return found.path;
  throw new BpfError(
    'BPF_NO_CGROUP2',
    'no cgroup v2 hierarchy is mounted (looked in /proc/self/mounts); mount one: ' +
      'mount -t cgroup2 none /sys/fs/cgroup/unified',
  );
}
