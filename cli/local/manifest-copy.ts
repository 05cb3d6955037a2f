import { randomBytes } from 'node:crypto';
import { chmodSync, chownSync, cpSync, lstatSync, mkdirSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';

/** Copies of manifests that are made for one mesh are named so. */
const PREFIX = 'loam-shop-';

/** A path for a copy that does not exist yet: written down before it is made, so that no crash leaves it unknown. */
export function newCopyPath(): string {
  return join(tmpdir(), `${PREFIX}${randomBytes(4).toString('hex')}`);
}

/**
 * Copies manifests to where a person may edit them without changing the installation, and gives the copy to whoever
 * called sudo.
 *
 * @param copy from {@link newCopyPath}; must not exist
 */
export function copyManifests(source: string, copy: string): void {
  mkdirSync(copy, { mode: 0o755 });
  cpSync(source, copy, { recursive: true });
  // The processes of the pods need not be root to read their own scripts.
  chmodSync(copy, 0o755);
  const uid = Number(process.env['SUDO_UID']);
  const gid = Number(process.env['SUDO_GID']);
  if (!Number.isInteger(uid) || !Number.isInteger(gid)) return;
  chownSync(copy, uid, gid);
  for (const path of readdirSync(copy, { recursive: true, encoding: 'utf8' }))
    chownSync(join(copy, path), uid, gid);
}

/** Removes a copy; leaves alone what is not named as one, or is a link to somewhere else. */
export function removeCopy(copy: string): void {
  const stat = lstatSync(copy, { throwIfNoEntry: false });
  if (stat?.isDirectory() === true && basename(copy).startsWith(PREFIX))
    rmSync(copy, { recursive: true, force: true });
}
