/**
 * A program's constants in a map that is filled after the program was loaded: the kernel's check of a program takes tens
 * of milliseconds, and nothing of it depends on whose pod the program will be for. What is written by {@link fill} is as
 * constant as what libbpf makes of .rodata: programs may only read it (BPF_F_RDONLY_PROG), and afterwards nobody may write it.
 */
import { closeFd } from '../libc.ts';
import { BpfError } from './errors.ts';
import { buffer } from './layout.ts';
import { errnoName, lastErrno, libbpf, type Handle } from './libbpf.ts';

const BPF_MAP_TYPE_ARRAY = 2;
const BPF_F_RDONLY_PROG = 0x80;
/** Of struct bpf_map_create_opts: size_t sz, five __u32, then map_flags. */
const OPTS_BYTES = 48;
const FLAGS_OFFSET = 28;

/** Owns its descriptor; programs that use the map keep it beyond. */
export class ConstantsMap implements Disposable {
  readonly #fd: number;
  readonly #bytes: number;

  /** @param bytes of all constants of the object @throws BpfError BPF_MAP */
  constructor(bytes: number) {
    const opts = buffer(OPTS_BYTES);
    opts.writeBigUInt64LE(BigInt(OPTS_BYTES), 0);
    opts.writeUInt32LE(BPF_F_RDONLY_PROG, FLAGS_OFFSET);
    this.#bytes = bytes;
    this.#fd = libbpf().mapCreate(BPF_MAP_TYPE_ARRAY, 'loam_constants', 4, bytes, 1, opts);
    if (this.#fd < 0) this.#fail('cannot be made');
  }

  /** Lets an object that is not loaded yet have its constants here. @param object its name */
  give(map: Handle, object: string): void {
    if (libbpf().mapReuseFd(map, this.#fd) === 0) return;
    const errno = lastErrno();
    throw new BpfError('BPF_OBJECT', `${object}: constants of ${this.#bytes} bytes do not fit`, { errno });
  }

  /**
   * Writes the constants, once; before that they are zeros.
   *
   * @throws BpfError BPF_MAP: the program must not be used
   */
  fill(constants: Buffer): void {
    if (constants.length !== this.#bytes)
      throw new BpfError('BPF_MAP', `${constants.length} bytes of constants; allowed are ${this.#bytes}`);
    if (libbpf().update(this.#fd, buffer(4), constants, 0) !== 0) this.#fail('cannot be written');
    if (libbpf().mapFreeze(this.#fd) !== 0) this.#fail('cannot be frozen');
  }

  [Symbol.dispose](): void {
    closeFd(this.#fd);
  }

  #fail(what: string): never {
    const errno = lastErrno();
    throw new BpfError('BPF_MAP', `a map of constants ${what}: ${errnoName(errno)}`, { errno });
  }
}
