import { chmodSync, chownSync, cpSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { packageRoot } from '../../lib/package-root.ts';
import { TEMPORARY_MANIFESTS_PREFIX } from '../local/cleanup.ts';

/**
 * Copies the shop's manifests to where a person may edit them without changing the installation, and gives the copy
 * to whoever called sudo.
 *
 * @returns the folder; it is removed with the mesh, and by {@link removeCopy} when the mesh never came about
 */
export function copyShop(): string {
  const copy = mkdtempSync(join(tmpdir(), TEMPORARY_MANIFESTS_PREFIX));
  cpSync(join(packageRoot(), 'deploy', 'examples', 'shop'), copy, { recursive: true });
  // The shop's processes need not be root to read their own scripts.
  chmodSync(copy, 0o755);
  const uid = Number(process.env['SUDO_UID']);
  const gid = Number(process.env['SUDO_GID']);
  if (Number.isInteger(uid) && Number.isInteger(gid)) {
    chownSync(copy, uid, gid);
    for (const path of readdirSync(copy, { recursive: true, encoding: 'utf8' }))
      chownSync(join(copy, path), uid, gid);
  }
  return copy;
}

export function removeCopy(copy: string): void {
  rmSync(copy, { recursive: true, force: true });
}
