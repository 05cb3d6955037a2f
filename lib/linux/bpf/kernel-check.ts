/**
 * Whether this machine's kernel can run Loam. Asked before anything is set up, so that one which cannot says so by name
 * and lists everything that it lacks.
 */
import { readFileSync } from 'node:fs';
import { release } from 'node:os';
import { BpfError } from './errors.ts';
import { KERNEL_FEATURES, type KernelFeature, type Probe } from './kernel-features.ts';
import { kernelHas } from './kernel-probe.ts';

/**
 * What this machine lacks; empty when Loam can run.
 *
 * @param has asks the kernel; injected in tests, which have no kernel old enough
 * @throws BpfError BPF_LIBRARY when libbpf, which asks, is missing or too old
 */
export function kernelLacks(has: (probe: Probe) => boolean = kernelHas): KernelFeature[] {
  return KERNEL_FEATURES.filter(({ probe }) => !has(probe));
}

/**
 * To be called before a program or command touches the machine.
 *
 * @param kernel its release, which the error names
 * @param mayAsk whether the kernel lets this process load programs: to one that may not it seems to have none
 * @throws BpfError BPF_KERNEL that names the kernel, and everything that it lacks with the release that has it first;
 *   BPF_CAPABILITY; BPF_LIBRARY
 */
export function requireKernel(
  has: (probe: Probe) => boolean = kernelHas,
  kernel: string = release(),
  mayAsk: () => boolean = mayLoadPrograms,
): void {
  const lacks = kernelLacks(has);
  if (lacks.length === 0) return;
  if (!mayAsk())
    throw new BpfError(
      'BPF_CAPABILITY',
      'this process may load no BPF programs: it lacks the capability SYS_ADMIN (or all of BPF, PERFMON and NET_ADMIN); as root?',
    );
  const lines = lacks.map(({ what, since, config, why }) => {
    const built = config === undefined ? '' : `, built with ${config}`;
    return `\n  missing: ${what}: ${why}; mainline has it since ${since}${built}`;
  });
  const all = lacks.length === KERNEL_FEATURES.length ? '\n  as root?' : '';
  throw new BpfError(
    'BPF_KERNEL',
    `kernel ${kernel} cannot run Loam${lines.join('')}${all}\n` +
      '  Debian 12 (6.1) and Ubuntu 24.04 (6.8) have all of it; see docs/kernels.md',
  );
}

/** Bits of /proc/PID/status: capabilities(7), linux/capability.h. */
const NET_ADMIN = 1n << 12n;
const SYS_ADMIN = 1n << 21n;
const PERFMON_AND_BPF = (1n << 38n) | (1n << 39n);

/** By the capabilities that this process has. @param status of /proc/self/status */
export function mayLoadPrograms(status: string = readFileSync('/proc/self/status', 'utf8')): boolean {
  const hex = /^CapEff:\s*([0-9a-f]+)$/m.exec(status)?.[1];
  // Where it is not shown, the kernel's own answers have to do.
  if (hex === undefined) return true;
  const effective = BigInt(`0x${hex}`);
  const all = PERFMON_AND_BPF | NET_ADMIN;
  return (effective & SYS_ADMIN) !== 0n || (effective & all) === all;
}
