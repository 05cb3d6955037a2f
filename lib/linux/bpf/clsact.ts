/**
 * A filter at the ingress of an interface, for kernels without tcx. It is no link: it stays until it is taken away or
 * the interface goes, and is known by its place and its program's id. All in this thread's network namespace.
 */
import { countFilters } from '../interfaces.ts';
import { BpfError } from './errors.ts';
import { buffer } from './layout.ts';
import { ENOENT, errnoName, lastErrno, libbpf } from './libbpf.ts';

// struct bpf_tc_hook and struct bpf_tc_opts of libbpf.
const HOOK_BYTES = 24;
const OPTS_BYTES = 32;
const INGRESS = 1;
const INGRESS_AND_EGRESS = 3;
const REPLACE = 1;
/** Asked first, and told from other filters of that priority by its handle. */
const PRIORITY = 1;
const HANDLE = 0x10a3;
const PARENT_INGRESS = 0xfffffff2;
const PARENT_EGRESS = 0xfffffff3;
const EEXIST = 17;
const EINVAL = 22;
const ENODEV = 19;

function hookAt(index: number, point = INGRESS): Buffer {
  const hook = buffer(HOOK_BYTES);
  hook.writeBigUInt64LE(BigInt(HOOK_BYTES), 0);
  hook.writeInt32LE(index, 8);
  hook.writeInt32LE(point, 12);
  return hook;
}

function place(program: number, flags: number): Buffer {
  const opts = buffer(OPTS_BYTES);
  opts.writeBigUInt64LE(BigInt(OPTS_BYTES), 0);
  opts.writeInt32LE(program, 8);
  opts.writeUInt32LE(flags, 12);
  opts.writeUInt32LE(HANDLE, 20);
  opts.writeUInt32LE(PRIORITY, 24);
  return opts;
}

/**
 * Makes the interface's clsact qdisc unless there is one.
 *
 * @returns true when it was made, so that it is ours to take away
 * @throws BpfError BPF_ATTACH
 */
export function ensureClsact(index: number): boolean {
  if (libbpf().tcHookCreate(hookAt(index)) === 0) return true;
  const errno = lastErrno();
  if (errno === EEXIST) return false;
  throw failure(index, 'get a clsact qdisc', errno);
}

/** Takes the qdisc away, unless somebody has a filter there. */
export function removeClsact(index: number): void {
  if (countFilters(index, PARENT_INGRESS) + countFilters(index, PARENT_EGRESS) > 0) return;
  libbpf().tcHookDestroy(hookAt(index, INGRESS_AND_EGRESS));
}

/** Puts a program into our place, in one step where one is there already. @throws BpfError BPF_ATTACH */
export function putFilter(program: number, index: number): void {
  if (libbpf().tcAttach(hookAt(index), place(program, REPLACE)) === 0) return;
  throw failure(index, 'get a filter', lastErrno());
}

/** Id of the program in our place; undefined when there is none, or no such interface. */
export function filterAt(index: number): number | undefined {
  const opts = place(0, 0);
  if (libbpf().tcQuery(hookAt(index), opts) === 0) return opts.readUInt32LE(16);
  const errno = lastErrno();
  if ([ENOENT, EINVAL, ENODEV].includes(errno)) return undefined;
  throw failure(index, 'be asked for its filter', errno);
}

/** Takes our filter away; fine when there is none. */
export function removeFilter(index: number): void {
  libbpf().tcDetach(hookAt(index), place(0, 0));
}

function failure(index: number, what: string, errno: number): BpfError {
  return new BpfError('BPF_ATTACH', `interface ${index} cannot ${what}: ${errnoName(errno)}`, { errno });
}
