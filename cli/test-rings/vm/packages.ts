/** What the ring `vm` boots, from the distribution's own packages. */
import { join } from 'node:path';
import { LoamError } from '../../../lib/loam-error.ts';
import { PackageError, runTool, unpackedPackage } from '../debian-packages.ts';

/** Something that the ring needs cannot be had on this machine. */
export class VmError extends LoamError<'VM_IMAGE'> {}

/** A kernel to boot in QEMU. */
export interface KernelFiles {
  /** What `uname -r` will say. */
  readonly release: string;
  readonly image: string;
  /** The folder that holds `lib/modules/<release>`. */
  readonly root: string;
}

/** The newest kernel that this Debian release ships. @throws PackageError */
export async function debianKernel(): Promise<KernelFiles> {
  const { stdout } = await runTool('apt-cache', ['depends', '--important', 'linux-image-amd64']);
  const name = /Depends: (linux-image-\S+)/.exec(stdout)?.[1];
  if (name === undefined)
    throw new PackageError('the package linux-image-amd64 depends on no kernel: is this Debian 12?');
  const release = name.slice('linux-image-'.length);
  const root = await unpackedPackage(name, async (folder) => {
    await runTool('depmod', ['-b', folder, release]);
  });
  return { release, image: join(root, 'boot', `vmlinuz-${release}`), root };
}

/** Path of a statically linked busybox, for the initramfs. @throws PackageError */
export async function staticBusybox(): Promise<string> {
  return join(await unpackedPackage('busybox-static'), 'bin', 'busybox');
}

/** Path of Debian's User Mode Linux: a kernel that runs as a process, built without type information and MPTCP. */
export async function userModeLinux(): Promise<string> {
  return join(await unpackedPackage('user-mode-linux'), 'usr', 'bin', 'linux.uml');
}
