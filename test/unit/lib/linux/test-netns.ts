/** Network namespaces for tests: made by `ip`, named so that they disturb nobody, removed afterwards. */
import { execFileSync } from 'node:child_process';

const made = new Set<string>();

export function ip(...args: string[]): string {
  return execFileSync('ip', args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] });
}

/** Makes a namespace with its loopback up. @returns its name and path */
export function makeNetns(suffix: string): { name: string; path: string } {
  const name = `lau${process.pid}${suffix}`;
  ip('netns', 'add', name);
  made.add(name);
  ip('-n', name, 'link', 'set', 'lo', 'up');
  return { name, path: `/run/netns/${name}` };
}

export function removeNetns(name: string): void {
  if (!made.delete(name)) return;
  ip('netns', 'del', name);
}

/** Removes all that are left. */
export function removeAllNetns(): void {
  for (const name of [...made]) removeNetns(name);
}
