/** tcx (kernel 6.6): a link at the ingress of an interface. By the raw call: the libbpf of Debian 12 does not know it. */
import { errnoName as libcErrno, sys } from '../libc.ts';
import { BpfError } from './errors.ts';
import { buffer } from './layout.ts';
import { errnoName, lastErrno, libbpf } from './libbpf.ts';
import { ATTACH_TYPES, attachedPrograms } from './link.ts';

/** __NR_bpf. */
const NR_BPF = process.arch === 'arm64' ? 280 : 321;
const BPF_LINK_CREATE = 28;
/** Without a neighbour named: before all others. */
const BPF_F_BEFORE = 8;
const LOOPBACK = 1;
/** Up to and with tcx.expected_revision of union bpf_attr. */
const LINK_CREATE_BYTES = 32;

/** Whether this kernel has tcx: asked at the loopback interface, which every namespace has. */
export function hasTcx(): boolean {
  const [ids, count] = [buffer(4), buffer(4)];
  // A kernel that does not know the hook says EINVAL; that there are more programs than fit is an answer too.
  const asked = libbpf().query(LOOPBACK, ATTACH_TYPES.tcx_ingress, 0, buffer(4), ids, count);
  return asked === 0 || errnoName(lastErrno()) !== 'EINVAL';
}

/**
 * Attaches a tc program before all others at the ingress of an interface: one that passes packets would keep those
 * behind it from being asked.
 *
 * @param index of the interface, in this thread's network namespace
 * @returns the link's descriptor, the caller's
 * @throws BpfError BPF_ATTACH
 */
export function attachTcx(program: number, index: number): number {
  const attributes = buffer(LINK_CREATE_BYTES);
  attributes.writeUInt32LE(program, 0);
  attributes.writeUInt32LE(index, 4);
  attributes.writeUInt32LE(ATTACH_TYPES.tcx_ingress, 8);
  attributes.writeUInt32LE(BPF_F_BEFORE, 12);
  const fd = sys.bpf(NR_BPF, BPF_LINK_CREATE, attributes, attributes.length);
  if (fd >= 0) return fd;
  throw new BpfError('BPF_ATTACH', `tcx cannot be attached to interface ${index}: ${libcErrno()}`);
}

/** Is a program the first that is asked at an interface of this thread's network namespace? */
export function isFirstAtTcx(program: number, index: number): boolean {
  return attachedPrograms(index, 'tcx_ingress')[0] === program;
}
