/** Maps by descriptor. */
import { BpfError } from './errors.ts';
import { ENOENT, errnoName, lastErrno, libbpf } from './libbpf.ts';
import { buffer } from './layout.ts';

const UPDATE_ANY = 0;
const UPDATE_NOEXIST = 1;
const EEXIST = 17;
/** How a map says that it is full: hash tables E2BIG, the longest-prefix trie ENOSPC. */
const FULL = ['E2BIG', 'ENOSPC'];
const MAP_INFO_BYTES = 80;
const MAX_ENTRIES_OFFSET = 16;
/** Deletions that happen meanwhile send the walk back to the beginning; it ends after so many keys all the same. */
const MAX_WALK = 1_000_000;

const INFO_BYTES = 24;

/** Key and value bytes of a map, as the kernel has them; of one CPU, where there is one value for each. */
export function mapSizes(fd: number): { readonly keyBytes: number; readonly valueBytes: number } {
  // struct bpf_map_info: type, id, key_size, value_size, …
  const [info, length] = [buffer(INFO_BYTES), buffer(4)];
  length.writeUInt32LE(INFO_BYTES, 0);
  if (libbpf().info(fd, info, length) !== 0) {
    const errno = lastErrno();
    throw new BpfError('BPF_MAP', `the sizes of a map cannot be read: ${errnoName(errno)}`, { errno });
  }
  return { keyBytes: info.readUInt32LE(8), valueBytes: info.readUInt32LE(12) };
}

/** A map of fixed key and value sizes. Does not own the descriptor. */
export class BpfMap {
  readonly name: string;
  readonly fd: number;
  readonly #keyBytes: number;
  readonly #valueBytes: number;

  constructor(name: string, fd: number, keyBytes: number, valueBytes: number) {
    this.name = name;
    this.fd = fd;
    this.#keyBytes = keyBytes;
    this.#valueBytes = valueBytes;
  }

  /** The value of a key, or undefined when there is none. */
  get(key: Buffer): Buffer | undefined {
    const value = buffer(this.#valueBytes);
    if (libbpf().lookup(this.fd, key, value) === 0) return value;
    return this.#absent('look-up');
  }

  /** Sets a key, in one step for the programs that read it. */
  set(key: Buffer, value: Buffer): void {
    if (libbpf().update(this.fd, key, value, UPDATE_ANY) !== 0) this.#fail('update');
  }

  /** Adds a key unless it is there; true when it was added. */
  add(key: Buffer, value: Buffer): boolean {
    if (libbpf().update(this.fd, key, value, UPDATE_NOEXIST) === 0) return true;
    if (lastErrno() === EEXIST) return false;
    return this.#fail('insert');
  }

  /** Adds a key with a value of zeros, unless it is there. */
  addZero(key: Buffer): void {
    this.add(key, this.zero());
  }

  /** A value of zeros. */
  zero(): Buffer {
    return buffer(this.#valueBytes);
  }

  /** Deletes a key; false when it was not there. */
  delete(key: Buffer): boolean {
    if (libbpf().remove(this.fd, key) === 0) return true;
    return this.#absent('delete') !== undefined;
  }

  /** All keys at this moment, as well as a map that changes can tell. */
  keys(): Buffer[] {
    const seen = new Map<string, Buffer>();
    let previous: Buffer | null = null;
    for (let i = 0; i < MAX_WALK; i += 1) {
      const next = buffer(this.#keyBytes);
      if (libbpf().nextKey(this.fd, previous, next) !== 0) {
        if (lastErrno() !== ENOENT) this.#fail('walk');
        return [...seen.values()];
      }
      seen.set(next.toString('latin1'), next);
      previous = next;
    }
    return [...seen.values()];
  }

  /** How many entries it can have. */
  capacity(): number {
    const info = buffer(MAP_INFO_BYTES);
    const length = buffer(4);
    length.writeUInt32LE(info.length, 0);
    if (libbpf().info(this.fd, info, length) !== 0) this.#fail('reading the size');
    return info.readUInt32LE(MAX_ENTRIES_OFFSET);
  }

  #absent(what: string): undefined {
    if (lastErrno() === ENOENT) return undefined;
    return this.#fail(what);
  }

  #fail(what: string): never {
    const errno = lastErrno();
    const why = FULL.includes(errnoName(errno))
      ? `the map is full (${this.capacity()} entries)`
      : `failed with ${errnoName(errno)}`;
    throw new BpfError('BPF_MAP', `${what} in map ${this.name}: ${why}`, { errno });
  }
}
