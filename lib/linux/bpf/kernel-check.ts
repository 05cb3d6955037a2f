/**
 * What the kernel must have. Asked before anything is set up, so that a machine that cannot run Loam says so by name
 * and by the kernel release that has what it lacks.
 */
import { accessSync, constants } from 'node:fs';
import { release } from 'node:os';
import { BpfError } from './errors.ts';
import { mounts } from './cgroup.ts';
import { libbpf } from './libbpf.ts';

/** The first kernel that has everything below (bpf_skc_to_mptcp_sock). */
export const OLDEST_KERNEL = '5.19';

/** Something that is missing. */
export interface KernelLack {
  /** For example `program type sk_lookup`. */
  readonly what: string;
  /** The kernel release since which it exists, and the switch it is built with. */
  readonly since: string;
  /** What to do. */
  readonly advice: string;
}

const CGROUP_SOCK_ADDR = 18;
const SOCK_OPS = 13;
const SK_LOOKUP = 30;

/** enum bpf_prog_type. */
const PROGRAM_TYPES = [
  { type: CGROUP_SOCK_ADDR, name: 'cgroup_sock_addr', since: '4.17', config: 'CONFIG_CGROUP_BPF' },
  { type: SOCK_OPS, name: 'sock_ops', since: '4.13', config: 'CONFIG_CGROUP_BPF' },
  { type: SK_LOOKUP, name: 'sk_lookup', since: '5.9', config: 'CONFIG_NET and CONFIG_BPF_SYSCALL' },
];

/** enum bpf_func_id: those that came last. */
const HELPERS = [
  { type: CGROUP_SOCK_ADDR, helper: 107, name: 'bpf_sk_storage_get in connect', since: '5.8' },
  { type: CGROUP_SOCK_ADDR, helper: 122, name: 'bpf_get_netns_cookie in connect', since: '5.7' },
  { type: SOCK_OPS, helper: 122, name: 'bpf_get_netns_cookie in sockops', since: '5.15' },
  { type: CGROUP_SOCK_ADDR, helper: 187, name: 'bpf_set_retval', since: '5.18' },
  { type: CGROUP_SOCK_ADDR, helper: 196, name: 'bpf_skc_to_mptcp_sock', since: '5.19' },
];

/**
 * What this machine lacks; empty when Loam can run.
 *
 * @param kernel release to judge by, this machine's by default
 */
export function kernelLacks(kernel: string = release()): KernelLack[] {
  const lacks = staticLacks(kernel);
  // A probe loads a tiny program: without the basics it would only say the same again.
  if (lacks.length === 0) lacks.push(...probedLacks());
  return lacks;
}

function staticLacks(kernel: string): KernelLack[] {
  const lacks: KernelLack[] = [];
  if (!atLeast(kernel, OLDEST_KERNEL)) {
    lacks.push({
      what: `kernel ${OLDEST_KERNEL} or newer (this is ${kernel})`,
      since: OLDEST_KERNEL,
      advice: 'boot a newer kernel; Debian 12 has 6.1, Ubuntu 24.04 has 6.8',
    });
  }
  if (!mounts().some((mount) => mount.type === 'cgroup2')) {
    lacks.push({
      what: 'a mounted cgroup v2 hierarchy',
      since: '4.5 (CONFIG_CGROUPS)',
      advice: 'mkdir -p /sys/fs/cgroup/unified && mount -t cgroup2 none /sys/fs/cgroup/unified',
    });
  }
  if (!readable('/sys/kernel/btf/vmlinux')) {
    lacks.push({
      what: "the kernel's type information, /sys/kernel/btf/vmlinux",
      since: '5.4 (CONFIG_DEBUG_INFO_BTF)',
      advice: 'boot a kernel built with CONFIG_DEBUG_INFO_BTF=y, as those of the distributions are',
    });
  }
  return lacks;
}

function probedLacks(): KernelLack[] {
  let lib: ReturnType<typeof libbpf>;
  try {
    lib = libbpf();
  } catch (error) {
    if (!(error instanceof BpfError)) throw error;
    return [{ what: 'libbpf 1.0 or newer', since: 'any', advice: error.message }];
  }
  const advice = 'as root? lockdown or a kernel built without it? see dmesg';
  const types = PROGRAM_TYPES.filter(({ type }) => lib.probeProgramType(type, null) !== 1).map((type) => ({
    what: `BPF program type ${type.name}`,
    since: `${type.since} (${type.config})`,
    advice,
  }));
  if (types.length > 0) return types;
  return HELPERS.filter(({ type, helper }) => lib.probeHelper(type, helper, null) === 0).map((helper) => ({
    what: `BPF helper ${helper.name}`,
    since: helper.since,
    advice: `boot kernel ${helper.since} or newer`,
  }));
}

/** Compares the first two numbers of kernel releases. */
export function atLeast(kernel: string, wanted: string): boolean {
  const [major = 0, minor = 0] = kernel.split(/[.-]/).map((part) => Number.parseInt(part, 10) || 0);
  const [wantedMajor = 0, wantedMinor = 0] = wanted.split('.').map(Number);
  return major > wantedMajor || (major === wantedMajor && minor >= wantedMinor);
}

function readable(path: string): boolean {
  try {
    accessSync(path, constants.R_OK);
    return true;
  } catch {
    return false;
  }
}
