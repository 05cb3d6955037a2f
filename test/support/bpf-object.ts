/** Reads what the programs of a BPF object call, from the file: ELF sections and their instructions. */
import { readFileSync } from 'node:fs';

const SECTION_HEADER_BYTES = 64;
const SHT_PROGBITS = 1;
const SHF_EXECINSTR = 4;
const INSTRUCTION_BYTES = 8;
const OPCODE_CALL = 0x85;

/** A call of an instruction: of a helper by number, of another program of the object, or of a kernel function. */
export interface Call {
  /** The section that the program is in, for example `cgroup/connect4`; `.text` holds what several call. */
  readonly section: string;
  readonly kind: 'helper' | 'program' | 'kernel-function';
  readonly helper: number;
}

/** All calls of a 64-bit little-endian object. */
export function callsOf(path: string): Call[] {
  const file = readFileSync(path);
  const table = Number(file.readBigUInt64LE(0x28));
  const count = file.readUInt16LE(0x3c);
  const header = (i: number): Buffer => file.subarray(table + i * SECTION_HEADER_BYTES);
  const bytes = (of: Buffer): Buffer => {
    const start = Number(of.readBigUInt64LE(0x18));
    return file.subarray(start, start + Number(of.readBigUInt64LE(0x20)));
  };
  const names = bytes(header(file.readUInt16LE(0x3e)));
  const calls: Call[] = [];
  for (let i = 0; i < count; i++) {
    const section = header(i);
    const isCode = (Number(section.readBigUInt64LE(8)) & SHF_EXECINSTR) !== 0;
    if (section.readUInt32LE(4) !== SHT_PROGBITS || !isCode) continue;
    const name = section.readUInt32LE(0);
    const code = bytes(section);
    for (let at = 0; at < code.length; at += INSTRUCTION_BYTES) {
      if (code[at] !== OPCODE_CALL) continue;
      const source = (code[at + 1] ?? 0) >> 4;
      calls.push({
        section: names.toString('latin1', name, names.indexOf(0, name)),
        kind: source === 0 ? 'helper' : source === 1 ? 'program' : 'kernel-function',
        helper: code.readInt32LE(at + 4),
      });
    }
  }
  return calls;
}
