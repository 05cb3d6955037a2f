import { lstat, readdir, stat } from 'node:fs/promises';
import { join, relative } from 'node:path';

/** A manifest file found, with what tells a changed file from an unchanged one. */
export interface FoundFile {
  /** Relative to the root. */
  readonly file: string;
  readonly path: string;
  readonly signature: string;
  /** Time of the last change, ms since the epoch. */
  readonly changedAtMs: number;
  readonly error?: string;
}

export interface Walk {
  readonly files: FoundFile[];
  readonly dirs: string[];
}

const MANIFEST = /\.(ya?ml|json)$/;
const MAX_FILES = 5000;
const MAX_DEPTH = 16;

/**
 * Finds all manifests below a directory. Symlinks are followed (a mounted ConfigMap consists of them), each directory
 * once; names beginning with a dot are passed over.
 *
 * @throws the file system's error when the root itself cannot be read
 */
export async function walkManifests(root: string): Promise<Walk> {
  const walk: Walk = { files: [], dirs: [] };
  await visit(root, root, walk, new Set(), 0);
  walk.files.sort((a, b) => (a.file < b.file ? -1 : 1));
  walk.files.forEach((found, i) => {
    if (i >= MAX_FILES) walk.files[i] = { ...found, error: `more than ${MAX_FILES} manifest files` };
  });
  return walk;
}

async function visit(root: string, dir: string, walk: Walk, seen: Set<string>, depth: number): Promise<void> {
  const info = await stat(dir, { bigint: true });
  const identity = `${info.dev}:${info.ino}`;
  if (seen.has(identity)) return;
  seen.add(identity);
  walk.dirs.push(dir);
  const entries = await readdir(dir);
  for (const name of entries.sort()) {
    if (name.startsWith('.')) continue;
    const path = join(dir, name);
    const file = relative(root, path);
    try {
      const entry = await stat(path, { bigint: true });
      if (entry.isDirectory()) {
        if (depth < MAX_DEPTH) await visit(root, path, walk, seen, depth + 1);
        else walk.files.push(broken(file, path, `directories nest deeper than ${MAX_DEPTH}`));
      } else if (MANIFEST.test(name)) {
        walk.files.push({
          file,
          path,
          signature: `${entry.dev}:${entry.ino}:${entry.size}:${entry.mtimeNs}:${entry.ctimeNs}`,
          changedAtMs: Number(entry.ctimeMs),
        });
      }
    } catch (error) {
      const { code = 'error' } = error as NodeJS.ErrnoException;
      if (code !== 'ENOENT') walk.files.push(broken(file, path, `cannot be read (${code})`));
      // Else gone between readdir and stat: an editor's rename.
      else if (await isSymlink(path)) walk.files.push(broken(file, path, 'a symlink that leads nowhere'));
    }
  }
}

/** What a symlink leads to may be on a disk that is not mounted at the moment: unreadable, not deleted. */
async function isSymlink(path: string): Promise<boolean> {
  return lstat(path).then(
    (info) => info.isSymbolicLink(),
    () => false,
  );
}

function broken(file: string, path: string, error: string): FoundFile {
  return { file, path, signature: error, changedAtMs: 0, error };
}
