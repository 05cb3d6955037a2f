import { readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';

/** What a cgroup of this process may use, and uses: without the file cache that the kernel gives up before it kills. */
export interface CgroupMemory {
  readonly used: number;
  readonly limit: number;
}

interface Files {
  readonly limit: string;
  readonly usage: string;
  /** In memory.stat. */
  readonly inactive: RegExp;
}

const V1: Files = {
  limit: 'memory.limit_in_bytes',
  usage: 'memory.usage_in_bytes',
  inactive: /^total_inactive_file (\d+)$/m,
};
const V2: Files = { limit: 'memory.max', usage: 'memory.current', inactive: /^inactive_file (\d+)$/m };
/** Version 1 writes "none" as the largest number of whole pages. */
const NONE = 2 ** 62;

/**
 * The memory cgroup of this process and those above it, as far as they can be seen. Sockets and their buffers, which RSS
 * does not have, count in it.
 */
export class CgroupMemoryReader {
  readonly #folders: readonly string[];
  readonly #files: Files;

  /** @param proc where the process' own entries are; others than /proc/self are for tests */
  constructor(proc = '/proc/self') {
    const mounts = readFileSync(`${proc}/mountinfo`, 'utf8');
    const groups = readFileSync(`${proc}/cgroup`, 'utf8');
    // Where version 1 has the controller, version 2 has not.
    const v1 = foldersOf(
      mounts,
      'cgroup',
      'memory',
      /^\d+:(?:[^:]*,)?memory(?:,[^:]*)?:(.*)$/m.exec(groups)?.[1],
    );
    this.#files = v1.length > 0 ? V1 : V2;
    this.#folders =
      v1.length > 0 ? v1 : foldersOf(mounts, 'cgroup2', undefined, /^0::(.*)$/m.exec(groups)?.[1]);
  }

  /**
   * The one of them that is nearest to its limit; undefined where none has any. Reads anew: limits may change.
   *
   * A group above that this process' own has less than half of does not count: others fill it (on a node, the pods'
   * common group), and could make this process refuse everybody; whatever it refused would not empty it.
   */
  tightest(): CgroupMemory | undefined {
    let found: CgroupMemory | undefined;
    let own: number | undefined;
    for (const folder of this.#folders) {
      const used = this.#used(folder);
      if (used === undefined) continue;
      own ??= used;
      const limit = this.#limit(folder);
      if (limit === undefined || own * 2 < used) continue;
      if (found === undefined || used / limit > found.used / found.limit) found = { used, limit };
    }
    return found;
  }

  #limit(folder: string): number | undefined {
    // `max` is no number.
    const limit = Number(read(join(folder, this.#files.limit)));
    return limit > 0 && limit < NONE ? limit : undefined;
  }

  #used(folder: string): number | undefined {
    const usage = read(join(folder, this.#files.usage));
    const stat = read(join(folder, 'memory.stat'));
    if (usage === undefined || stat === undefined) return undefined;
    return Number(usage) - Number(this.#files.inactive.exec(stat)?.[1] ?? 0);
  }
}

/** The topmost group has no such files, and one that was removed has none any more. */
function read(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return undefined;
  }
}

/** The folder of a group and all above it, up to where its hierarchy is mounted. */
function foldersOf(
  mountinfo: string,
  type: string,
  controller: string | undefined,
  group: string | undefined,
): string[] {
  if (group === undefined) return [];
  for (const line of mountinfo.split('\n')) {
    const [before = '', after = ''] = line.split(' - ', 2);
    const [, , , root = '', mountPoint = ''] = before.split(' ');
    const [fsType, , options = ''] = after.split(' ');
    if (fsType !== type) continue;
    if (controller !== undefined && !options.split(',').includes(controller)) continue;
    // A group outside of what is mounted, as in a container that has no namespace of cgroups: the mount is its own.
    const inside = root === '/' ? group : group.startsWith(root) ? group.slice(root.length) : '/';
    const folders: string[] = [];
    let folder = join(mountPoint, inside.startsWith('/..') ? '/' : inside);
    while (folder.length > mountPoint.length) {
      folders.push(folder.replace(/\/$/, ''));
      folder = dirname(folder);
    }
    return [...folders, mountPoint];
  }
  return [];
}
