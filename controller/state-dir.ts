import { randomBytes } from 'node:crypto';
import { chmod, link, mkdir, open, rename, rm, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { ControllerError } from './errors.ts';

const DIR_MODE = 0o700;
const FILE_MODE = 0o600;

/** Makes the state directory, readable by its owner alone. */
export async function prepareStateDir(dir: string): Promise<void> {
  try {
    await mkdir(dir, { recursive: true, mode: DIR_MODE });
    if (!(await stat(dir)).isDirectory()) throw new Error('it is not a directory');
    await chmod(dir, DIR_MODE);
  } catch (cause) {
    throw new ControllerError('STATE', `state directory ${dir} cannot be used`, { cause });
  }
}

/** Replaces a file in one step that survives a crash: a reader sees the old content or the new one, whole. */
export async function writeAtomically(path: string, content: string, mode = FILE_MODE): Promise<void> {
  const temporary = await writeTemporary(path, content, mode);
  try {
    await rename(temporary, path);
  } catch (error) {
    await rm(temporary, { force: true });
    throw error;
  }
  await syncDir(path);
}

/**
 * Creates a file that must not exist yet, whole or not at all.
 *
 * @returns false when it exists already (another process may have been first); nothing is changed then
 */
export async function createAtomically(path: string, content: string, mode = FILE_MODE): Promise<boolean> {
  const temporary = await writeTemporary(path, content, mode);
  try {
    await link(temporary, path);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false;
    throw error;
  } finally {
    await rm(temporary, { force: true });
  }
  await syncDir(path);
  return true;
}

async function writeTemporary(path: string, content: string, mode: number): Promise<string> {
  const temporary = join(dirname(path), `.${randomBytes(6).toString('hex')}.tmp`);
  const file = await open(temporary, 'wx', mode);
  try {
    await file.writeFile(content);
    await file.chmod(mode);
    await file.sync();
  } catch (error) {
    // On a full disk it would stay, and so would that of the next attempt.
    await rm(temporary, { force: true });
    throw error;
  } finally {
    await file.close();
  }
  return temporary;
}

async function syncDir(path: string): Promise<void> {
  const dir = await open(dirname(path), 'r');
  try {
    await dir.sync();
  } finally {
    await dir.close();
  }
}
