import { existsSync, mkdirSync, readdirSync, readFileSync, rmdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { STATE_ROOT } from './paths.ts';
import { runCommand, tryCommand } from './run-command.ts';

/** A note beside the meshes' state: which mounts Loam made and so takes away again. */
const MOUNTS_MADE = join(STATE_ROOT, 'mounts-made');
const NETNS_DIR = '/run/netns';

function mountPoints(): string[] {
  return readFileSync('/proc/self/mounts', 'utf8')
    .split('\n')
    .map((line) => line.split(' ')[1] ?? '');
}

function made(): string[] {
  return existsSync(MOUNTS_MADE) ? readFileSync(MOUNTS_MADE, 'utf8').split('\n').filter(Boolean) : [];
}

/**
 * Makes the mount that `ip netns` keeps its names in, which all meshes share, where the machine has none. (The BPF
 * file system is the agent's own business.) The caller holds the machine's lock.
 */
export async function makeMachineMounts(): Promise<void> {
  const before = mountPoints();
  const note = (what: string): void => writeFileSync(MOUNTS_MADE, `${[...made(), what].join('\n')}\n`);
  if (!before.includes(NETNS_DIR)) {
    if (!existsSync(NETNS_DIR)) note(`${NETNS_DIR}/`);
    note(NETNS_DIR);
    mkdirSync(NETNS_DIR, { recursive: true, mode: 0o755 });
    // What `ip netns add` would do the first time, done here so that two meshes do not do it at once.
    await runCommand(['mount', '--bind', NETNS_DIR, NETNS_DIR]);
    await runCommand(['mount', '--make-shared', NETNS_DIR]);
  }
}

/** Takes away the mounts that Loam made and nobody uses. The caller holds the machine's lock and knows no mesh is left. */
export async function removeMachineMounts(): Promise<void> {
  const kept: string[] = [];
  for (const what of made().reverse()) {
    if (what.endsWith('/')) {
      try {
        rmdirSync(what);
      } catch {
        kept.unshift(what);
      }
    } else if (!mountPoints().includes(what)) {
      continue;
    } else if (readdirSync(what).length > 0 || (await tryCommand(['umount', what])).code !== 0) {
      kept.unshift(what);
    }
  }
  if (kept.length === 0) rmSync(MOUNTS_MADE, { force: true });
  else writeFileSync(MOUNTS_MADE, `${kept.join('\n')}\n`);
}
