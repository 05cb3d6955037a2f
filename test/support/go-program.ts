import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, renameSync, rmSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { packageRoot } from '../../lib/package-root.ts';

const CACHE = join(process.env['XDG_CACHE_HOME'] ?? join(homedir(), '.cache'), 'loam-go-programs');

/**
 * Builds a program of somebody else's once, at the version that a folder's go.mod and go.sum pin, and keeps it in the user's
 * cache.
 *
 * @param folder under test/support, with go.mod, go.sum and tools.go; or main.go, where it is a program of ours
 * @param programPackage import path of the program
 * @returns the program's path
 * @throws Error naming what is missing, with the compiler's output as its cause
 */
export function buildGoProgram(folder: string, programPackage: string): string {
  const sources = join(packageRoot(), 'test', 'support', folder);
  const hash = createHash('sha256').update(programPackage);
  for (const file of ['go.mod', 'go.sum', 'main.go'])
    if (existsSync(join(sources, file))) hash.update(readFileSync(join(sources, file)));
  const name = programPackage.split('/').slice(-2).join('-');
  const program = join(CACHE, `${name}-${hash.digest('hex').slice(0, 16)}`);
  if (existsSync(program)) return program;
  mkdirSync(CACHE, { recursive: true });
  const fresh = `${program}.${process.pid}`;
  try {
    const command = ['build', '-trimpath', '-mod=readonly', '-ldflags', '-s -w', '-o', fresh, programPackage];
    execFileSync('go', command, { cwd: sources, stdio: ['ignore', 'ignore', 'pipe'] });
    // Whole or not at all: several runs may build at a time.
    renameSync(fresh, program);
  } catch (error) {
    throw new Error(`${programPackage} could not be built; it needs Go 1.26 or newer in PATH`, {
      cause: error,
    });
  } finally {
    rmSync(fresh, { force: true });
  }
  return program;
}
