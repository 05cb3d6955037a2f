/**
 * Programs for tests from the distribution's own packages: fetched by apt-get, unpacked into the user's cache, and never installed,
 * so that the machine stays as it is.
 */
import { execFile } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, renameSync, rmSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { LoamError } from '../../lib/loam-error.ts';

/** A package cannot be had on this machine. */
export class PackageError extends LoamError<'DEBIAN_PACKAGE'> {
  constructor(message: string, options: ErrorOptions = {}) {
    super('DEBIAN_PACKAGE', message, options);
  }
}

function cacheFolder(): string {
  return join(process.env['XDG_CACHE_HOME'] ?? join(homedir(), '.cache'), 'loam', 'debian');
}

/**
 * The folder of a package's files, of the version that apt would install now.
 *
 * @param complete is done once to a fresh folder
 * @throws PackageError
 */
export async function unpackedPackage(
  name: string,
  complete: (folder: string) => Promise<void> = () => Promise.resolve(),
): Promise<string> {
  try {
    return await unpackNewest(name, complete);
  } catch (error) {
    if (!(error instanceof PackageError)) throw error;
    // The lists may be older than the archive, which keeps only the newest of a package.
    await runTool('apt-get', ['-q', 'update']);
    return unpackNewest(name, complete);
  }
}

async function unpackNewest(name: string, complete: (folder: string) => Promise<void>): Promise<string> {
  const version = await candidate(name);
  const cache = cacheFolder();
  mkdirSync(cache, { recursive: true });
  const folder = join(cache, `${name}_${version.replaceAll(':', '%3a')}`);
  if (existsSync(folder)) return folder;
  console.log(`    fetching ${name} ${version} with apt-get`);
  const work = mkdtempSync(join(cache, 'fetching-'));
  try {
    await runTool('apt-get', ['-q', 'download', `${name}=${version}`], { cwd: work });
    const archive = readdirSync(work).find((file) => file.endsWith('.deb'));
    if (archive === undefined) throw new PackageError(`apt-get download ${name} brought no package`);
    const files = join(work, 'files');
    await runTool('dpkg-deb', ['-x', join(work, archive), files]);
    await complete(files);
    for (const old of readdirSync(cache))
      if (old.startsWith(`${name}_`)) rmSync(join(cache, old), { recursive: true, force: true });
    // Whole or not at all: a later run trusts what it finds.
    renameSync(files, folder);
    return folder;
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}

async function candidate(name: string): Promise<string> {
  const { stdout } = await runTool('apt-cache', ['policy', name]);
  const version = /Candidate: (\S+)/.exec(stdout)?.[1];
  if (version !== undefined && version !== '(none)') return version;
  throw new PackageError(`apt knows no package ${name}: this needs Debian 12 on x86-64`);
}

/** @throws PackageError when it cannot be run, or fails */
export async function runTool(
  file: string,
  args: readonly string[],
  options: { cwd?: string } = {},
): Promise<{ stdout: string }> {
  try {
    return await promisify(execFile)(file, args, options);
  } catch (error) {
    throw new PackageError(`${file} ${args.join(' ')} failed`, { cause: error });
  }
}
