/**
 * What the ring `vm` boots, from the distribution's own packages: fetched by apt-get, unpacked into the user's cache,
 * and never installed, so that the machine's own kernel and boot loader stay as they are.
 */
import { execFile } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, renameSync, rmSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { LoamError } from '../../../lib/loam-error.ts';

/** Something that the ring needs cannot be had on this machine. */
export class VmError extends LoamError<'VM_PACKAGE' | 'VM_IMAGE'> {}

/** A kernel to boot in QEMU. */
export interface KernelFiles {
  /** What `uname -r` will say. */
  readonly release: string;
  readonly image: string;
  /** The folder that holds `lib/modules/<release>`. */
  readonly root: string;
}

/** The newest kernel that this Debian release ships. @throws VmError */
export async function debianKernel(): Promise<KernelFiles> {
  const { stdout } = await run('apt-cache', ['depends', '--important', 'linux-image-amd64']);
  const name = /Depends: (linux-image-\S+)/.exec(stdout)?.[1];
  if (name === undefined)
    throw new VmError('VM_PACKAGE', 'the package linux-image-amd64 depends on no kernel: is this Debian 12?');
  const release = name.slice('linux-image-'.length);
  const root = await unpacked(name, async (folder) => {
    await run('depmod', ['-b', folder, release]);
  });
  return { release, image: join(root, 'boot', `vmlinuz-${release}`), root };
}

/** Path of a statically linked busybox, for the initramfs. @throws VmError */
export async function staticBusybox(): Promise<string> {
  return join(await unpacked('busybox-static'), 'bin', 'busybox');
}

/** Path of Debian's User Mode Linux: a kernel that runs as a process, built without type information and MPTCP. */
export async function userModeLinux(): Promise<string> {
  return join(await unpacked('user-mode-linux'), 'usr', 'bin', 'linux.uml');
}

function cacheFolder(): string {
  return join(process.env['XDG_CACHE_HOME'] ?? join(homedir(), '.cache'), 'loam', 'vm');
}

/** The folder of a package's files, of the version that apt would install now. */
async function unpacked(
  name: string,
  complete: (folder: string) => Promise<void> = () => Promise.resolve(),
): Promise<string> {
  try {
    return await unpackNewest(name, complete);
  } catch (error) {
    if (!(error instanceof VmError)) throw error;
    // The lists may be older than the archive, which keeps only the newest of a package.
    await run('apt-get', ['-q', 'update']);
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
    await run('apt-get', ['-q', 'download', `${name}=${version}`], { cwd: work });
    const archive = readdirSync(work).find((file) => file.endsWith('.deb'));
    if (archive === undefined) throw new VmError('VM_PACKAGE', `apt-get download ${name} brought no package`);
    const files = join(work, 'files');
    await run('dpkg-deb', ['-x', join(work, archive), files]);
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
  const { stdout } = await run('apt-cache', ['policy', name]);
  const version = /Candidate: (\S+)/.exec(stdout)?.[1];
  if (version !== undefined && version !== '(none)') return version;
  throw new VmError('VM_PACKAGE', `apt knows no package ${name}: the ring vm needs Debian 12 on x86-64`);
}

async function run(
  file: string,
  args: readonly string[],
  options: { cwd?: string } = {},
): Promise<{ stdout: string }> {
  try {
    return await promisify(execFile)(file, args, options);
  } catch (error) {
    throw new VmError('VM_PACKAGE', `${file} ${args.join(' ')} failed`, { cause: error });
  }
}
