/** Finding network namespaces of which only the kernel's cookie is known: what another process made, and left. */
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { closeFd } from './libc.ts';
import { netnsCookie, openNetns } from './netns.ts';

/**
 * Opens those that a process of the machine lives in, or that are mounted where this process sees it (`/run/netns`).
 * Any other ends with its last descriptor anyhow.
 *
 * @param cookies as of `netnsCookie`
 * @param proc where /proc is
 * @returns by cookie, a descriptor each, the caller's to close; those that are gone are missing
 */
export function findNetns(cookies: ReadonlySet<bigint>, proc = '/proc'): Map<bigint, number> {
  const found = new Map<bigint, number>();
  const seen = new Set<string>();
  for (const path of candidates(proc)) {
    if (found.size === cookies.size) break;
    const inode = inodeOf(path);
    if (inode === undefined || seen.has(inode)) continue;
    seen.add(inode);
    const fd = tryOpen(path);
    if (fd === undefined) continue;
    const cookie = netnsCookie(fd);
    if (cookies.has(cookie) && !found.has(cookie)) found.set(cookie, fd);
    else closeFd(fd);
  }
  return found;
}

function* candidates(proc: string): Generator<string> {
  // proc(5): id parent major:minor root mount-point …; of nsfs, the root names the namespace.
  for (const line of readFileSync(`${proc}/self/mountinfo`, 'utf8').split('\n')) {
    const [, , , root = '', point = ''] = line.split(' ');
    if (root.startsWith('net:[')) yield point;
  }
  for (const name of readdirSync(proc)) if (/^[0-9]+$/.test(name)) yield `${proc}/${name}/ns/net`;
}

function inodeOf(path: string): string | undefined {
  try {
    const { dev, ino } = statSync(path, { bigint: true });
    return `${dev}:${ino}`;
  } catch {
    return undefined; // the process ended, or the mount is gone
  }
}

function tryOpen(path: string): number | undefined {
  try {
    return openNetns(path);
  } catch {
    return undefined;
  }
}
