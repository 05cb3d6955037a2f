import { randomUUID } from 'node:crypto';
import {
  closeSync,
  ftruncateSync,
  mkdirSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { dirname } from 'node:path';

/** Makes a directory that only root can look into, with its parents. */
export function makePrivateDir(path: string): void {
  mkdirSync(path, { recursive: true, mode: 0o700 });
}

/** Writes a whole file of mode 0600 in one step: a reader sees the old text or the new, never half. */
export function writeAtomically(path: string, text: string): void {
  makePrivateDir(dirname(path));
  const temporary = `${path}.${randomUUID()}.tmp`;
  try {
    writeFileSync(temporary, text, { mode: 0o600 });
    renameSync(temporary, path);
  } catch (error) {
    // On a full disk it would stay, and so would that of the next attempt.
    rmSync(temporary, { force: true });
    throw error;
  }
}

/** As {@link writeAtomically}, but leaves the file alone when it says so already. @returns whether it was written */
export function writeIfChanged(path: string, text: string): boolean {
  if (readIfPresent(path) === text) return false;
  writeAtomically(path, text);
  return true;
}

/**
 * Rewrites a file in place, keeping its inode: for files that are bind-mounted into pods, where a rename would
 * leave the pod with the old one.
 */
export function writeInPlace(path: string, text: string): void {
  if (readIfPresent(path) === text) return;
  makePrivateDir(dirname(path));
  const fd = openSync(path, 'a+', 0o644);
  closeSync(fd);
  const out = openSync(path, 'r+');
  try {
    const bytes = Buffer.from(text);
    // One write over the old text, then the cut: a reader in between sees at worst an old tail.
    writeSync(out, bytes, 0, bytes.length, 0);
    ftruncateSync(out, bytes.length);
  } finally {
    closeSync(out);
  }
}

/** The file's text, or undefined when there is none. */
export function readIfPresent(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}
