import { mutateBytes, type Mutator, type Pool } from './mutate.ts';
import type { SeededRandom } from './random.ts';

/** A field as it stands on the wire (protobuf encoding: varint, 64 bits, length-delimited, 32 bits). */
export interface Field {
  readonly number: number;
  readonly wire: number;
  readonly value: Buffer;
}

const MAX_DEPTH = 8;

/** Changes a protobuf message as a tree, so that lengths stay right; now and then, bytes of it as they are. */
export const mutateProtobuf: Mutator = (input, random, pool) =>
  random.below(5) === 0 ? mutateBytes(input, random, pool) : change(input, random, pool, 0);

function change(input: Buffer, random: SeededRandom, pool: Pool, depth: number): Buffer {
  const fields = readFields(input);
  if (fields === undefined || fields.length === 0 || depth > MAX_DEPTH)
    return depth === 0 && input.length === 0 ? pool.other() : mutateBytes(input, random, pool);
  const at = random.below(fields.length);
  const field = fields[at] as Field;
  switch (random.below(9)) {
    case 0:
      fields.splice(at, 1);
      break;
    case 1:
      fields.splice(random.below(fields.length + 1), 0, field);
      break;
    case 2: {
      const others = readFields(pool.other());
      if (others?.length) fields.splice(at, random.below(2), random.of(others));
      break;
    }
    case 3:
      fields.splice(at, 0, { ...field, number: 1 + random.below(random.oneIn(4) ? 600 : 32) });
      break;
    case 4:
      fields[at] = { number: field.number, ...anyValue(random, pool) };
      break;
    case 5:
      fields.push({ number: 1 + random.below(32), ...anyValue(random, pool) });
      break;
    default:
      fields[at] =
        field.wire === 2
          ? { ...field, value: change(field.value, random, pool, depth + 1) }
          : { number: field.number, wire: field.wire, value: changeScalar(field, random) };
  }
  return writeFields(fields);
}

function changeScalar({ wire, value }: Field, random: SeededRandom): Buffer {
  if (wire === 0)
    return varint(random.oneIn(2) ? random.below(300) : 2 ** random.below(33) - random.below(2));
  const copy = Buffer.from(value);
  copy[random.below(copy.length)] = random.below(256);
  return copy;
}

function anyValue(random: SeededRandom, pool: Pool): { wire: number; value: Buffer } {
  if (random.oneIn(3)) return { wire: 0, value: varint(random.below(200_000)) };
  return {
    wire: 2,
    value: random.oneIn(2) ? random.of(pool.words) : Buffer.alloc(random.below(20), random.below(256)),
  };
}

/** @returns undefined for what is no message */
export function readFields(bytes: Buffer): Field[] | undefined {
  const fields: Field[] = [];
  for (let at = 0; at < bytes.length;) {
    const tag = readVarint(bytes, at);
    if (tag === undefined || tag.value >> 3 === 0) return undefined;
    const wire = tag.value & 7;
    let [from, to] = [tag.end, tag.end];
    if (wire === 0) to = readVarint(bytes, from)?.end ?? -1;
    else if (wire === 1) to += 8;
    else if (wire === 5) to += 4;
    else if (wire === 2) {
      const length = readVarint(bytes, from);
      if (length === undefined) return undefined;
      from = length.end;
      to = from + length.value;
    } else return undefined;
    if (to < from || to > bytes.length) return undefined;
    fields.push({ number: tag.value >> 3, wire, value: bytes.subarray(from, to) });
    at = to;
  }
  return fields;
}

function readVarint(bytes: Buffer, at: number): { value: number; end: number } | undefined {
  let value = 0;
  for (let i = 0; i < 5; i += 1) {
    const byte = bytes[at + i];
    if (byte === undefined) return undefined;
    value += (byte & 0x7f) * 2 ** (7 * i);
    if (byte < 0x80) return value < 2 ** 31 ? { value, end: at + i + 1 } : undefined;
  }
  return undefined;
}

function varint(value: number): Buffer {
  const bytes: number[] = [];
  let rest = Math.max(0, value);
  for (; rest >= 128; rest = Math.floor(rest / 128)) bytes.push((rest % 128) + 128);
  bytes.push(rest);
  return Buffer.from(bytes);
}

/** A message of fields. */
export function writeFields(fields: readonly Field[]): Buffer {
  return Buffer.concat(
    fields.flatMap(({ number, wire, value }) => [
      varint(number * 8 + wire),
      ...(wire === 2 ? [varint(value.length)] : []),
      value,
    ]),
  );
}
