/** Trying out what this machine's kernel has. */
import { accessSync, constants } from 'node:fs';
import { addressOf, check, closeFd, errnoName as libcErrno, sys } from '../libc.ts';
import { assertNever } from '../../assert-never.ts';
import { mounts } from './cgroup.ts';
import { PROGRAM_TYPES, type Probe } from './kernel-features.ts';
import { buffer } from './layout.ts';
import { errnoName, lastErrno, libbpf } from './libbpf.ts';

const AF_INET = 2;
const SOCK_DGRAM_CLOEXEC = 0o2000002;
const SOL_SOCKET = 1;
const SO_NETNS_COOKIE = 71;
/** Instructions, as struct bpf_insn. */
const RETURN_1 = [0xb7, 0, 0, 0, 1, 0, 0, 0, 0x95, 0, 0, 0, 0, 0, 0, 0];
const call = (helper: number): number[] => [0x85, 0, 0, 0, helper & 0xff, (helper >> 8) & 0xff, 0, 0];
/** A hook of each program type that has several: enum bpf_attach_type. */
const HOOK_OF_TYPE: ReadonlyMap<number, number> = new Map([
  [PROGRAM_TYPES.sockAddr, 10],
  [PROGRAM_TYPES.sockOps, 3],
  [PROGRAM_TYPES.skLookup, 36],
]);
/** How the verifier says that a program of this type may not call a helper, or that there is none; by kernel release. */
const NO_SUCH_HELPER = /unknown func|invalid func|cannot use helper/;
/** struct bpf_prog_load_opts of libbpf, up to its log. */
const LOAD_OPTS = { bytes: 104, attachType: 12, logLevel: 88, logSize: 92, log: 96 };
const LOG_BYTES = 16 * 1024;

/**
 * Does the running kernel have it? What cannot be tried out, for want of privilege, counts as missing.
 *
 * @throws BpfError BPF_LIBRARY when libbpf is missing
 */
export function kernelHas(probe: Probe): boolean {
  switch (probe.kind) {
    case 'cgroup2':
      return mounts().some((mount) => mount.type === 'cgroup2');
    case 'type-information':
      return isReadable('/sys/kernel/btf/vmlinux');
    case 'netns-cookie':
      return hasNetnsCookie();
    case 'link-detach':
      // Of a descriptor that is none: a kernel that does not know the command says EINVAL.
      return libbpf().linkDetach(-1) !== 0 && errnoName(lastErrno()) === 'EBADF';
    case 'program':
      return libbpf().probeProgramType(probe.type, null) === 1;
    case 'map':
      return libbpf().probeMapType(probe.type, null) === 1;
    case 'hook':
      return load(probe.type, probe.attachType, RETURN_1).loads;
    case 'helper': {
      // The call's arguments are wrong, so that it never loads; the question is what the verifier says first.
      const code = [...call(probe.helper), ...RETURN_1];
      const { loads, log } = load(probe.type, HOOK_OF_TYPE.get(probe.type) ?? 0, code);
      return loads || (log !== '' && !NO_SUCH_HELPER.test(log));
    }
    default:
      return assertNever(probe, 'probe of the kernel');
  }
}

function isReadable(path: string): boolean {
  try {
    accessSync(path, constants.R_OK);
    return true;
  } catch {
    return false;
  }
}

function hasNetnsCookie(): boolean {
  const fd = check(sys.socket(AF_INET, SOCK_DGRAM_CLOEXEC, 0), 'socket', 'AF_INET', 'SOCK_DGRAM');
  try {
    const length = buffer(4);
    length.writeUInt32LE(8, 0);
    return (
      sys.getsockopt(fd, SOL_SOCKET, SO_NETNS_COOKIE, buffer(8), length) === 0 ||
      libcErrno() !== 'ENOPROTOOPT'
    );
  } finally {
    closeFd(fd);
  }
}

function load(type: number, attachType: number, code: readonly number[]): { loads: boolean; log: string } {
  const log = buffer(LOG_BYTES);
  const opts = buffer(LOAD_OPTS.bytes);
  opts.writeBigUInt64LE(BigInt(LOAD_OPTS.bytes), 0);
  opts.writeUInt32LE(attachType, LOAD_OPTS.attachType);
  opts.writeUInt32LE(1, LOAD_OPTS.logLevel);
  opts.writeUInt32LE(LOG_BYTES, LOAD_OPTS.logSize);
  opts.writeBigUInt64LE(addressOf(log), LOAD_OPTS.log);
  const instructions = Uint8Array.from(code);
  const fd = libbpf().programLoad(type, 'loam_probe', 'GPL', instructions, instructions.length / 8, opts);
  if (fd >= 0) closeFd(fd);
  return { loads: fd >= 0, log: log.toString('latin1', 0, log.indexOf(0)) };
}
