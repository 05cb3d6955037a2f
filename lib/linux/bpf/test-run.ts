/** Running a loaded program once on a made-up context, in the kernel, with nothing attached (BPF_PROG_TEST_RUN). */
import { addressOf } from '../libc.ts';
import { BpfError } from './errors.ts';
import { buffer } from './layout.ts';
import { errnoName, lastErrno, libbpf } from './libbpf.ts';

const OPTS_BYTES = 80;

/**
 * Runs a program in this thread's network namespace.
 *
 * @param program its descriptor
 * @param context what the program type takes; changed in place to what the program left
 * @returns the program's verdict
 */
export function testRun(program: number, context: Buffer<ArrayBuffer>): number {
  // struct bpf_test_run_opts of libbpf.
  const opts = buffer(OPTS_BYTES);
  opts.writeBigUInt64LE(BigInt(OPTS_BYTES), 0);
  opts.writeBigUInt64LE(addressOf(context), 32);
  opts.writeBigUInt64LE(addressOf(context), 40);
  opts.writeUInt32LE(context.length, 48);
  opts.writeUInt32LE(context.length, 52);
  if (libbpf().testRun(program, opts) !== 0) {
    const errno = lastErrno();
    throw new BpfError('BPF_ARGUMENT', `the program cannot be run alone: ${errnoName(errno)}`, { errno });
  }
  return opts.readUInt32LE(56);
}
