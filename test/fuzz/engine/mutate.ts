import type { SeededRandom } from './random.ts';

/** Makes an input out of another one. */
export type Mutator = (input: Buffer, random: SeededRandom, pool: Pool) => Buffer;

/** What a mutation may take from. */
export interface Pool {
  /** Words that the parser knows, and others of its language. */
  readonly words: readonly Buffer[];
  /** Another input of the corpus. */
  other(): Buffer;
}

const INTERESTING = [
  0, 1, 0x7f, 0x80, 0xff, 0x20, 0x0a, 0x0d, 0x22, 0x5c, 0x2c, 0x3b, 0x3a, 0x2f, 0x25, 0x2e,
];
const NUMBERS = ['0', '-1', '1', '65535', '65536', '4294967295', '9007199254740993', '1e9', '00', '0x10'];

/** One change of bytes that knows nothing of what they mean. */
export const mutateBytes: Mutator = (input, random, pool) => {
  const at = random.below(input.length + 1);
  const length = 1 + random.below(random.oneIn(4) ? Math.max(1, input.length) : 8);
  const before = input.subarray(0, at);
  const rest = (skip: number): Buffer => input.subarray(Math.min(input.length, at + skip));
  switch (random.below(11)) {
    case 0:
      return Buffer.concat([before, rest(length)]);
    case 1:
      return Buffer.concat([before, Buffer.of(random.below(256)), rest(0)]);
    case 2:
      return Buffer.concat([before, Buffer.of(random.of(INTERESTING)), rest(1)]);
    case 3: {
      const copy = Buffer.from(input);
      if (at < copy.length) copy[at] = (copy[at] ?? 0) ^ (1 << random.below(8));
      return copy;
    }
    case 4:
    case 5:
      return Buffer.concat([before, random.of(pool.words), rest(random.oneIn(2) ? 0 : length)]);
    case 6: {
      const from = random.below(input.length + 1);
      return Buffer.concat([before, input.subarray(from, from + length), rest(0)]);
    }
    case 7: {
      const other = pool.other();
      return Buffer.concat([before, other.subarray(random.below(other.length + 1))]);
    }
    case 8:
      return Buffer.concat([before, Buffer.from(random.of(NUMBERS)), rest(random.oneIn(2) ? 0 : length)]);
    case 9: {
      const piece = input.subarray(at, at + length);
      return Buffer.concat([before, ...Array<Buffer>(2 + random.below(30)).fill(piece), rest(length)]);
    }
    default: {
      const copy = Buffer.from(input);
      if (at < copy.length) copy[at] = ((copy[at] ?? 0) + (random.oneIn(2) ? 1 : 255)) & 0xff;
      return copy;
    }
  }
};

/** Whole lines of a text: taken out, doubled, swapped, indented, or put in from another. */
export const mutateLines: Mutator = (input, random, pool) => {
  if (random.below(3) === 0) return mutateBytes(input, random, pool);
  const lines = input.toString('latin1').split('\n');
  const at = random.below(lines.length);
  const line = lines[at] ?? '';
  switch (random.below(6)) {
    case 0:
      lines.splice(at, 1 + random.below(3));
      break;
    case 1:
      lines.splice(at, 0, line);
      break;
    case 2: {
      const to = random.below(lines.length);
      lines[at] = lines[to] ?? '';
      lines[to] = line;
      break;
    }
    case 3:
      lines[at] = random.oneIn(2) ? `  ${line}` : line.replace(/^ {2}/, '');
      break;
    case 4: {
      const others = pool.other().toString('latin1').split('\n');
      lines.splice(
        at,
        random.below(2),
        ...others.slice(random.below(others.length)).slice(0, 1 + random.below(5)),
      );
      break;
    }
    default: {
      const words = line.split(/(?<=[\s:,[\]{}"'])/);
      words[random.below(words.length)] = random.of(pool.words).toString('latin1');
      lines[at] = words.join('');
    }
  }
  return Buffer.from(lines.join('\n'), 'latin1');
};
