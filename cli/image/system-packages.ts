/** Which package of the distribution each system file of an image is from. */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { basename, join } from 'node:path';

export interface SystemPackage {
  readonly name: string;
  readonly version: string;
  readonly architecture: string;
  /** Its entry in the database, for scanners that look for `/var/lib/dpkg/status.d`. */
  readonly status: string;
  /** Path of its copyright file on this machine, where it has one. */
  readonly copyright: string | undefined;
}

/**
 * The Debian packages that own files; a file that none owns (another distribution) is left out.
 *
 * @param paths as they are called in the system
 */
export function packagesOwning(paths: readonly string[], systemRoot: string): SystemPackage[] {
  const database = join(systemRoot, 'var/lib/dpkg');
  const status = readStatus(join(database, 'status'));
  const lists = join(database, 'info');
  if (!existsSync(lists)) return [];
  const wanted = new Set(paths.flatMap(spellings));
  const owners = new Map<string, SystemPackage>();
  for (const list of readdirSync(lists).sort()) {
    if (!list.endsWith('.list')) continue;
    const owned = readFileSync(join(lists, list), 'utf8').split('\n');
    if (!owned.some((path) => wanted.has(path))) continue;
    const name = basename(list, '.list').split(':')[0] ?? '';
    const found = status.get(name);
    if (found === undefined) continue;
    const copyright = join(systemRoot, 'usr/share/doc', name, 'copyright');
    owners.set(name, {
      name,
      version: field(found, 'Version'),
      architecture: field(found, 'Architecture'),
      status: found,
      copyright: existsSync(copyright) ? copyright : undefined,
    });
  }
  return [...owners.values()].sort((a, b) => (a.name < b.name ? -1 : 1));
}

/** The lists may still call a file by its place from before /lib became a link into /usr. */
function spellings(path: string): string[] {
  return path.startsWith('/usr/') ? [path, path.slice('/usr'.length)] : [path, `/usr${path}`];
}

/** Entries by name; of several architectures of one package, which have the same version, one. */
function readStatus(file: string): Map<string, string> {
  const entries = new Map<string, string>();
  if (!existsSync(file)) return entries;
  for (const entry of readFileSync(file, 'utf8').split('\n\n')) {
    const name = field(entry, 'Package');
    if (name !== '') entries.set(name, `${entry.trim()}\n`);
  }
  return entries;
}

function field(entry: string, name: string): string {
  return new RegExp(`^${name}: (.*)$`, 'm').exec(entry)?.[1] ?? '';
}
