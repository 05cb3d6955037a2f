/** Reads of an ELF file what it needs to run: the loader and the shared libraries, by name (System V ABI, chapter 5). */
import { closeSync, openSync, readSync } from 'node:fs';
import { ImageError } from './errors.ts';

const CLASS_64 = 2;
const LITTLE_ENDIAN = 1;
const PT_LOAD = 1;
const PT_DYNAMIC = 2;
const PT_INTERP = 3;
const DT_NEEDED = 1;
const DT_STRTAB = 5;
const DT_STRSZ = 10;
/** Nothing of these is larger in any program; a file that says so is not read. */
const LARGEST_TABLE = 8 << 20;

/** The processors that images are made for, by their number in the ELF header. */
const MACHINES: Readonly<Record<number, Architecture>> = { 62: 'amd64', 183: 'arm64' };

/** As the OCI image specification calls them. */
export type Architecture = 'amd64' | 'arm64';

export interface ElfNeeds {
  readonly architecture: Architecture;
  /** Path of the loader; a shared library has none. */
  readonly interpreter: string | undefined;
  readonly libraries: readonly string[];
}

interface Segment {
  readonly type: number;
  readonly offset: number;
  readonly address: number;
  readonly fileSize: number;
}

/** @throws ImageError IMAGE_FILE when it is no 64-bit little-endian ELF file of a known processor */
export function elfNeeds(path: string): ElfNeeds {
  const fd = openSync(path, 'r');
  try {
    const read = (offset: number, length: number): Buffer => {
      if (length > LARGEST_TABLE) throw bad(path, 'has a table of an impossible size');
      const buffer = Buffer.alloc(length);
      if (readSync(fd, buffer, 0, length, offset) !== length) throw bad(path, 'ends too early');
      return buffer;
    };
    return parse(path, read);
  } finally {
    closeSync(fd);
  }
}

function parse(path: string, read: (offset: number, length: number) => Buffer): ElfNeeds {
  const head = read(0, 64);
  if (head.toString('latin1', 0, 4) !== '\x7fELF') throw bad(path, 'is no ELF file');
  if (head[4] !== CLASS_64 || head[5] !== LITTLE_ENDIAN) throw bad(path, 'is not 64-bit little-endian');
  const architecture = MACHINES[head.readUInt16LE(18)];
  if (architecture === undefined) throw bad(path, 'is for a processor that no image is made for');

  const segments = segmentsOf(head, read);
  const interp = segments.find((segment) => segment.type === PT_INTERP);
  const dynamic = segments.find((segment) => segment.type === PT_DYNAMIC);
  return {
    architecture,
    interpreter: interp === undefined ? undefined : cString(read(interp.offset, interp.fileSize), 0),
    libraries: dynamic === undefined ? [] : libraries(path, read, segments, dynamic),
  };
}

function segmentsOf(head: Buffer, read: (offset: number, length: number) => Buffer): Segment[] {
  const size = head.readUInt16LE(54);
  const count = head.readUInt16LE(56);
  const table = read(Number(head.readBigUInt64LE(32)), size * count);
  return Array.from({ length: count }, (_, i) => ({
    type: table.readUInt32LE(i * size),
    offset: Number(table.readBigUInt64LE(i * size + 8)),
    address: Number(table.readBigUInt64LE(i * size + 16)),
    fileSize: Number(table.readBigUInt64LE(i * size + 32)),
  }));
}

function libraries(
  path: string,
  read: (offset: number, length: number) => Buffer,
  segments: readonly Segment[],
  dynamic: Segment,
): string[] {
  const table = read(dynamic.offset, dynamic.fileSize);
  const entries: (readonly [tag: number, value: number])[] = [];
  for (let at = 0; at + 16 <= table.length; at += 16)
    entries.push([Number(table.readBigInt64LE(at)), Number(table.readBigUInt64LE(at + 8))]);
  const value = (tag: number): number | undefined => entries.find(([other]) => other === tag)?.[1];

  const address = value(DT_STRTAB);
  const size = value(DT_STRSZ);
  if (address === undefined || size === undefined) throw bad(path, 'has no table of names');
  const load = segments.find(
    (one) => one.type === PT_LOAD && one.address <= address && address < one.address + one.fileSize,
  );
  if (load === undefined) throw bad(path, 'has its table of names outside the file');
  const names = read(address - load.address + load.offset, size);
  return entries.filter(([tag]) => tag === DT_NEEDED).map(([, offset]) => cString(names, offset));
}

function cString(buffer: Buffer, from: number): string {
  const end = buffer.indexOf(0, from);
  return buffer.toString('utf8', from, end === -1 ? buffer.length : end);
}

function bad(path: string, what: string): ImageError {
  return new ImageError('IMAGE_FILE', `${path} ${what}`);
}
