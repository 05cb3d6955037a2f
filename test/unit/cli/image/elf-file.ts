/** The smallest ELF file that says what it needs; nothing in it runs. */
export function elfFile(options: {
  readonly machine: number;
  readonly interpreter?: string;
  readonly needed: readonly string[];
}): Buffer {
  const { machine, interpreter, needed } = options;
  const names = Buffer.from(`\0${needed.map((name) => `${name}\0`).join('')}`);
  const interp = Buffer.from(interpreter === undefined ? '' : `${interpreter}\0`);
  const dynamic = Buffer.alloc((needed.length + 3) * 16);
  const segments = interpreter === undefined ? 2 : 3;
  const interpAt = 64 + segments * 56;
  const dynamicAt = interpAt + interp.length;
  const namesAt = dynamicAt + dynamic.length;
  const total = namesAt + names.length;

  let offset = 1;
  const entries: (readonly [number, number])[] = needed.map((name) => {
    const entry = [1, offset] as const;
    offset += name.length + 1;
    return entry;
  });
  entries.push([5, namesAt], [10, names.length], [0, 0]);
  for (const [i, [tag, value]] of entries.entries()) {
    dynamic.writeBigInt64LE(BigInt(tag), i * 16);
    dynamic.writeBigUInt64LE(BigInt(value), i * 16 + 8);
  }

  const head = Buffer.alloc(interpAt);
  head.write('\x7fELF', 'latin1');
  head[4] = 2;
  head[5] = 1;
  head.writeUInt16LE(machine, 18);
  head.writeBigUInt64LE(64n, 32);
  head.writeUInt16LE(56, 54);
  head.writeUInt16LE(segments, 56);
  const segment = (i: number, type: number, at: number, size: number): void => {
    head.writeUInt32LE(type, 64 + i * 56);
    head.writeBigUInt64LE(BigInt(at), 64 + i * 56 + 8);
    head.writeBigUInt64LE(BigInt(at), 64 + i * 56 + 16);
    head.writeBigUInt64LE(BigInt(size), 64 + i * 56 + 32);
  };
  segment(0, 1, 0, total);
  segment(1, 2, dynamicAt, dynamic.length);
  if (interpreter !== undefined) segment(2, 3, interpAt, interp.length);
  return Buffer.concat([head, interp, dynamic, names]);
}
