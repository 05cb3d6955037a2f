/** Links: what is attached where, read from the kernel. */
import { closeFd } from '../libc.ts';
import { BpfError } from './errors.ts';
import { buffer } from './layout.ts';
import { ENOENT, ENOLINK, errnoName, lastErrno, libbpf } from './libbpf.ts';

/** enum bpf_attach_type, as far as we use it. */
export const ATTACH_TYPES = {
  sockops: 3,
  connect4: 10,
  connect6: 11,
  getpeername4: 29,
  getpeername6: 30,
  sk_lookup: 36,
  tcx_ingress: 46,
} as const;
export type AttachType = keyof typeof ATTACH_TYPES;

/** enum bpf_link_type. */
const LINK_TYPE_CGROUP = 3;
const LINK_TYPE_NETNS = 5;
const LINK_TYPE_TCX = 11;
const LINK_INFO_BYTES = 64;
const PROGRAM_INFO_BYTES = 80;
const PROGRAM_NAME_OFFSET = 64;
const MAX_PROGRAMS_AT_HOOK = 64;

/** What the kernel says of a link. `alive` is false when what it was attached to is gone. */
export type LinkInfo =
  | {
      readonly kind: 'cgroup';
      readonly id: number;
      readonly program: number;
      readonly alive: boolean;
      readonly cgroupId: bigint;
      readonly attachType: number;
    }
  | {
      readonly kind: 'netns';
      readonly id: number;
      readonly program: number;
      readonly alive: boolean;
      readonly netnsInode: number;
      readonly attachType: number;
    }
  | {
      readonly kind: 'tcx';
      readonly id: number;
      readonly program: number;
      readonly alive: boolean;
      readonly interfaceIndex: number;
    }
  | { readonly kind: 'other'; readonly id: number; readonly program: number; readonly alive: boolean };

/** Reads a link's state. */
export function linkInfo(fd: number): LinkInfo {
  const info = readInfo(fd, LINK_INFO_BYTES, 'link');
  const type = info.readUInt32LE(0);
  const id = info.readUInt32LE(4);
  const program = info.readUInt32LE(8);
  if (type === LINK_TYPE_CGROUP) {
    const cgroupId = info.readBigUInt64LE(16);
    return {
      kind: 'cgroup',
      id,
      program,
      alive: cgroupId !== 0n,
      cgroupId,
      attachType: info.readUInt32LE(24),
    };
  }
  if (type === LINK_TYPE_NETNS) {
    // Zero once the namespace is gone: the link outlives it while it is pinned (FINDINGS, answer 8).
    const netnsInode = info.readUInt32LE(16);
    return {
      kind: 'netns',
      id,
      program,
      alive: netnsInode !== 0,
      netnsInode,
      attachType: info.readUInt32LE(20),
    };
  }
  if (type === LINK_TYPE_TCX) {
    const interfaceIndex = info.readUInt32LE(16);
    return { kind: 'tcx', id, program, alive: interfaceIndex !== 0, interfaceIndex };
  }
  return { kind: 'other', id, program, alive: true };
}

/** A program's id. */
export function programId(fd: number): number {
  return readInfo(fd, PROGRAM_INFO_BYTES, 'program').readUInt32LE(4);
}

/** The name of a program by id, or undefined when it is gone. */
export function programName(id: number): string | undefined {
  const fd = libbpf().programById(id);
  if (fd < 0) return undefined;
  try {
    const info = readInfo(fd, PROGRAM_INFO_BYTES, 'program');
    const name = info.subarray(PROGRAM_NAME_OFFSET, PROGRAM_NAME_OFFSET + 16);
    return name.toString('latin1', 0, Math.max(name.indexOf(0), 0));
  } finally {
    closeFd(fd);
  }
}

/**
 * Attaches a program. At a cgroup, links are always beside others (BPF_F_ALLOW_MULTI).
 *
 * @param target descriptor of the cgroup's folder or of the network namespace
 * @returns the link's descriptor, the caller's
 */
export function attach(program: number, target: number, type: AttachType, where: string): number {
  const fd = libbpf().linkCreate(program, target, ATTACH_TYPES[type], null);
  if (fd >= 0) return fd;
  const errno = lastErrno();
  const hint =
    errnoName(errno) === 'EPERM' ? ' (not root, or a program that allows no others is attached there)' : '';
  throw new BpfError('BPF_ATTACH', `${type} cannot be attached to ${where}: ${errnoName(errno)}${hint}`, {
    errno,
  });
}

/**
 * Puts another program in a link's place, without a moment in which none is attached.
 *
 * @returns false when what the link was attached to is gone
 */
export function replaceProgram(link: number, program: number): boolean {
  if (libbpf().linkUpdate(link, program, null) === 0) return true;
  const errno = lastErrno();
  if (errno === ENOLINK) return false;
  throw new BpfError('BPF_ATTACH', `a link's program cannot be replaced: ${errnoName(errno)}`, { errno });
}

/** Ends a link at once, whoever holds descriptors or pins of it; fine when it has ended already. */
export function detach(link: number): void {
  libbpf().linkDetach(link);
}

/** Ids of the programs attached to a cgroup or network namespace. */
export function attachedPrograms(target: number, type: AttachType): number[] {
  const ids = buffer(4 * MAX_PROGRAMS_AT_HOOK);
  const count = buffer(4);
  count.writeUInt32LE(MAX_PROGRAMS_AT_HOOK, 0);
  if (libbpf().query(target, ATTACH_TYPES[type], 0, buffer(4), ids, count) !== 0) {
    const errno = lastErrno();
    throw new BpfError('BPF_ATTACH', `${type} programs cannot be listed: ${errnoName(errno)}`, { errno });
  }
  return Array.from({ length: count.readUInt32LE(0) }, (_, i) => ids.readUInt32LE(4 * i));
}

/** All links of the machine. */
export function allLinks(): LinkInfo[] {
  const links: LinkInfo[] = [];
  const next = buffer(4);
  for (let id = 0; libbpf().linkNextId(id, next) === 0;) {
    id = next.readUInt32LE(0);
    const fd = libbpf().linkById(id);
    if (fd < 0) continue;
    try {
      links.push(linkInfo(fd));
    } finally {
      closeFd(fd);
    }
  }
  if (lastErrno() !== ENOENT) {
    const errno = lastErrno();
    throw new BpfError('BPF_ATTACH', `the machine's links cannot be listed: ${errnoName(errno)}`, { errno });
  }
  return links;
}

function readInfo(fd: number, bytes: number, what: string): Buffer {
  const info = buffer(bytes);
  const length = buffer(4);
  length.writeUInt32LE(bytes, 0);
  if (libbpf().info(fd, info, length) === 0) return info;
  const errno = lastErrno();
  throw new BpfError('BPF_ATTACH', `the state of a ${what} cannot be read: ${errnoName(errno)}`, { errno });
}
