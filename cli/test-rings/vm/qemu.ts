/** A virtual machine for one command: boots, runs it with this machine's files, shows its output, and is gone. */
import { spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { packageRoot } from '../../../lib/package-root.ts';
import { BEGIN, END, guestScript } from './guest.ts';
import { buildInitramfs, ROOT_TAG } from './initramfs.ts';
import { VmError, type KernelFiles } from './packages.ts';

const CPUS = 2;
const MEMORY_MB = 4096;
const KERNEL_LOG_LINES = 30;
/** Emulated, a clock other than the processor's own counter costs an exit at each look, and mitigations are but slow. */
const KERNEL_ARGUMENTS = 'console=ttyS0 quiet panic=-1 tsc=reliable mitigations=off';

/** What came of the command. `exitCode` is undefined when the machine ended, or was ended, before the command. */
export interface GuestResult {
  readonly kernel: string | undefined;
  readonly output: string;
  readonly exitCode: number | undefined;
}

/**
 * Runs a command as root in a machine with another kernel. The processor is emulated (no KVM needed), the file system
 * is this machine's, read-only; what the command writes is in the guest's memory and goes with it.
 *
 * @param timeoutMs when the machine is switched off, whatever it does
 * @throws VmError VM_IMAGE
 */
export async function runInVm(options: {
  readonly kernel: KernelFiles;
  readonly busybox: string;
  readonly command: readonly string[];
  readonly patience: number;
  readonly timeoutMs: number;
}): Promise<GuestResult> {
  const { kernel, busybox, command, patience, timeoutMs } = options;
  const work = mkdtempSync(join(tmpdir(), 'loam-vm-'));
  try {
    const guest = guestScript({
      port: '/dev/ttyS1',
      modules: join(kernel.root, 'lib', 'modules', kernel.release),
      folder: packageRoot(),
      path: `${dirname(process.execPath)}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin`,
      patience,
      command,
    });
    const initramfs = await buildInitramfs(work, kernel, busybox, guest);
    const kernelLog = join(work, 'kernel.log');
    const output = await runQemu(qemuArguments(kernel, initramfs, kernelLog), timeoutMs);
    const result = readResult(output);
    if (result.exitCode === undefined) {
      const tail = readFileSync(kernelLog, 'utf8').trimEnd().split('\n').slice(-KERNEL_LOG_LINES);
      console.log(`    the machine ended before its command did; its kernel said last:\n${tail.join('\n')}`);
    }
    return result;
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}

function qemuArguments(kernel: KernelFiles, initramfs: string, kernelLog: string): string[] {
  return [
    ...['-accel', 'tcg,thread=multi', '-cpu', 'max', '-smp', String(CPUS), '-m', String(MEMORY_MB)],
    ...['-nodefaults', '-no-user-config', '-display', 'none', '-no-reboot'],
    ...['-kernel', kernel.image, '-initrd', initramfs, '-append', KERNEL_ARGUMENTS],
    ...['-serial', `file:${kernelLog}`, '-serial', 'stdio'],
    ...['-fsdev', 'local,id=root,path=/,security_model=none,readonly=on,multidevs=remap'],
    ...['-device', `virtio-9p-pci,fsdev=root,mount_tag=${ROOT_TAG}`],
  ];
}

function runQemu(args: readonly string[], timeoutMs: number): Promise<string> {
  return new Promise((resolve, reject) => {
    const child = spawn('qemu-system-x86_64', args, { stdio: ['ignore', 'pipe', 'inherit'] });
    const kill = (): void => void child.kill('SIGKILL');
    // Nothing of it outlives this process.
    process.once('exit', kill);
    const timer = setTimeout(() => {
      console.log(`    switched off after ${Math.round(timeoutMs / 60_000)} minutes`);
      kill();
    }, timeoutMs);
    let output = '';
    child.stdout.on('data', (chunk: Buffer) => {
      output += chunk.toString();
      process.stdout.write(chunk);
    });
    child.once('error', (error) => reject(new VmError('VM_IMAGE', 'QEMU does not start', { cause: error })));
    child.once('close', () => {
      clearTimeout(timer);
      process.off('exit', kill);
      resolve(output);
    });
  });
}

/** Exported for its test. */
export function readResult(output: string): GuestResult {
  const kernel = new RegExp(`^${BEGIN}(\\S+)\\s*$`, 'm').exec(output)?.[1];
  const code = new RegExp(`^${END}(\\d+)\\s*$`, 'm').exec(output)?.[1];
  return { kernel, output, exitCode: code === undefined ? undefined : Number(code) };
}
