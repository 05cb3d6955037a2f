import { type Cidr, cidrContains, cidrFromText } from '../../state/ip.ts';
import type { RequestHead } from '../request.ts';
import type { Subject } from './subject.ts';
import { anyText } from './value-match.ts';

/** A compiled condition. */
export type Predicate = (subject: Subject) => boolean;

/**
 * How a value that can be read in more than one way, or cannot be seen at all, counts: `wide` matches when any reading
 * does, `narrow` only when the plain one does. A denial is wide and an admission narrow; a negative list is the other
 * way round than its rule, since what it matches is taken out.
 */
export type Reading = 'wide' | 'narrow';

/** Makes the test "one of these values"; it throws {@link UnsupportedError} for a value that it cannot read. */
export type MakeTest = (values: readonly string[], reading: Reading) => Predicate;

/** Something in a policy that cannot be enforced as written. */
export class UnsupportedError extends Error {}

export function opposite(reading: Reading): Reading {
  return reading === 'wide' ? 'narrow' : 'wide';
}

/** The test of a list of values and of its negative: one value must match, none of the others may; empty: not asked. */
export function listed(
  values: readonly string[],
  notValues: readonly string[],
  reading: Reading,
  make: MakeTest,
): Predicate[] {
  const tests: Predicate[] = [];
  if (values.length > 0) tests.push(make(values, reading));
  if (notValues.length > 0) {
    const excluded = make(notValues, opposite(reading));
    tests.push((subject) => !excluded(subject));
  }
  return tests;
}

/** A test of a text that every connection has or has not; what is absent matches nothing, not even `*`. */
export function ofText(read: (subject: Subject) => string | undefined): MakeTest {
  return (values) => {
    const test = anyText(values);
    return (subject) => {
      const text = read(subject);
      return text !== undefined && test(text);
    };
  };
}

/** A test of what only a request has. For an opaque connection it counts as the reading says. */
export function ofRequest(
  make: (values: readonly string[], reading: Reading) => (head: RequestHead) => boolean,
): MakeTest {
  return (values, reading) => {
    const test = make(values, reading);
    const unseen = reading === 'wide';
    return ({ request }) => (request === undefined ? unseen : test(request));
  };
}

/** A test of an address against blocks. An address that cannot be read counts as the reading says. */
export function ofAddress(read: (subject: Subject) => readonly number[] | null): MakeTest {
  return (values, reading) => {
    const blocks = values.map(parseBlock);
    return (subject) => {
      const address = read(subject);
      if (address === null) return reading === 'wide';
      return blocks.some((block) => cidrContains(block, address));
    };
  };
}

export function ofPort(values: readonly string[]): Predicate {
  const ports = new Set(values.map(parsePort));
  return ({ port }) => ports.has(port);
}

function parsePort(value: string): number {
  const port = Number(value);
  if (!/^[0-9]{1,5}$/.test(value) || port < 1 || port > 65535)
    throw new UnsupportedError(`port ${JSON.stringify(value)} is not one from 1 to 65535`);
  return port;
}

/** An address or a CIDR block; an IPv4-mapped one is IPv4, as every address that is compared with it. */
function parseBlock(value: string): Cidr {
  const cidr = cidrFromText(value);
  if (cidr !== undefined) return cidr;
  throw new UnsupportedError(`${JSON.stringify(value)} is neither an address nor a CIDR block`);
}
