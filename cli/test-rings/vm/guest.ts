/** What the machines of the ring `vm` do once this machine's files are theirs to read. */

/** A word as a shell takes it, whatever is in it. */
export function quoted(word: string): string {
  return `'${word.replaceAll("'", `'\\''`)}'`;
}

/** Printed by the guest, so that the end of a machine that died is not taken for the end of its tests. */
export const BEGIN = 'loam-vm: begin on kernel ';
export const END = 'loam-vm: exit code ';

/**
 * The first process of a QEMU machine: mounts what systemd mounts elsewhere, and runs one command.
 *
 * @param port the serial port for the command's output; the kernel has the first
 * @param modules folder with the kernel's modules
 */
export function guestScript(options: {
  readonly port: string;
  readonly modules: string;
  readonly folder: string;
  readonly path: string;
  readonly patience: number;
  readonly command: readonly string[];
}): string {
  const { port, modules, folder, path, patience, command } = options;
  return `
export PATH=${quoted(path)} HOME=/root LOAM_TEST_PATIENCE=${patience}
stty -F ${port} raw -echo
exec <${port} >${port} 2>&1
mkdir -p /dev/pts /dev/shm /lib/modules
mount -t devpts devpts /dev/pts
mount -t tmpfs tmpfs /dev/shm
mount -t tmpfs tmpfs /run
mount -t cgroup2 cgroup2 /sys/fs/cgroup
ln -sfn ${quoted(modules)} "/lib/modules/$(uname -r)"
ip link set lo up
hostname loam-vm
echo "${BEGIN}$(uname -r)"
cd ${quoted(folder)}
${command.map(quoted).join(' ')} </dev/null
echo "${END}$?"
sync
echo o >/proc/sysrq-trigger
sleep 60
`;
}
