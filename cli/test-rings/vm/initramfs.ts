/** The first file system of the virtual machine: enough to reach this machine's own, shared with it read-only. */
import { spawn } from 'node:child_process';
import { chmodSync, copyFileSync, mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { execFile } from 'node:child_process';
import { basename, join } from 'node:path';
import { promisify } from 'node:util';
import { VmError, type KernelFiles } from './packages.ts';

/** Tag by which QEMU offers this machine's root file system over 9p. */
export const ROOT_TAG = 'loam-root';
/** What must be loaded before the root file system is there; modprobe does the rest from it. */
const MODULES = ['virtio_pci', '9pnet_virtio', '9p', 'overlay'];

/**
 * Everything that the machine writes goes into its memory, over what it shares: it changes no file of its host.
 * `$1` of the guest's script is a folder for the kernel's modules.
 */
function init(guestScript: string): string {
  return `#!/bin/busybox sh
b=/bin/busybox
$b mount -t proc proc /proc && $b mount -t sysfs sysfs /sys && $b mount -t devtmpfs dev /dev
for module in /modules/*; do $b insmod $module; done
$b mount -t 9p -o trans=virtio,version=9p2000.L,ro,cache=loose,msize=524288,access=any ${ROOT_TAG} /lower
$b mount -t tmpfs -o size=3g tmpfs /upper && $b mkdir /upper/files /upper/work
$b mount -t overlay -o lowerdir=/lower,upperdir=/upper/files,workdir=/upper/work overlay /root
for dir in dev proc sys; do $b mount --move /$dir /root/$dir; done
$b cp /guest.sh /root/${guestScript}
exec $b switch_root /root /bin/sh ${guestScript}
`;
}

/**
 * Builds it in a folder.
 *
 * @param guest the script that then runs as the machine's first process, with everything of this machine in place
 * @returns path of the image
 * @throws VmError VM_IMAGE
 */
export async function buildInitramfs(
  folder: string,
  kernel: KernelFiles,
  busybox: string,
  guest: string,
): Promise<string> {
  const root = join(folder, 'initramfs');
  for (const dir of ['bin', 'proc', 'sys', 'dev', 'modules', 'lower', 'upper', 'root'])
    mkdirSync(join(root, dir), { recursive: true });
  copyFileSync(busybox, join(root, 'bin', 'busybox'));
  chmodSync(join(root, 'bin', 'busybox'), 0o755);
  symlinkSync('busybox', join(root, 'bin', 'sh'));
  for (const [i, module] of (await moduleFiles(kernel)).entries())
    copyFileSync(module, join(root, 'modules', `${String(i + 10)}-${basename(module)}`));
  writeFileSync(join(root, 'guest.sh'), guest);
  writeFileSync(join(root, 'init'), init('/loam-vm-guest.sh'), { mode: 0o755 });
  const image = join(folder, 'initramfs.cpio');
  const child = spawn(
    'sh',
    ['-ec', 'cd "$1" && find . | cpio --quiet -o -H newc >"$2"', 'pack', root, image],
    {
      stdio: ['ignore', 'inherit', 'inherit'],
    },
  );
  const code = await new Promise((resolve) => child.once('close', resolve));
  if (code !== 0) throw new VmError('VM_IMAGE', `cpio could not pack ${root}: exit code ${String(code)}`);
  return image;
}

/** In the order in which they are to be loaded. */
async function moduleFiles({ root, release }: KernelFiles): Promise<string[]> {
  const files = new Set<string>();
  for (const module of MODULES) {
    const args = ['-d', root, '-S', release, '--show-depends', module];
    const { stdout } = await promisify(execFile)('modprobe', args);
    for (const [, file] of stdout.matchAll(/^insmod (\S+)/gm)) if (file !== undefined) files.add(file);
  }
  return [...files];
}
