/** Where the guards of an instance are attached, as its pins say. */
import { closeFd } from '../libc.ts';
import { filterAt, putFilter, removeClsact, removeFilter } from './clsact.ts';
import { detach, programId } from './link.ts';
import type { PinFolder, PinKind } from './pins.ts';

/** How a guard is attached: tcx from kernel 6.6 on, a filter of a clsact qdisc on any. */
export type GuardMethod = 'tcx' | 'clsact';
/** The pins of each: a link, or the program of the filter. */
export const PINS = { tcx: 'guards', clsact: 'filters' } as const satisfies Record<GuardMethod, PinKind>;
export const METHODS = ['tcx', 'clsact'] as const;
/** Beside a filter's pin: the qdisc was made by us. */
export const MADE = '-made';
/**
 * Beside a filter's pin: the program that is to take its place. A filter does not end with its process, so a program is
 * pinned before it is put there: else, killed between the two, nobody would know it as ours, and it would go on to drop.
 */
export const NEXT = '-next';

/** One interface of one pod. */
export interface GuardPin {
  readonly name: string;
  readonly cookie: bigint;
  readonly index: number;
}

/**
 * Detaches all guards of an instance by their pins. Filters go only where this thread's namespace has the interface;
 * where it has not, they end with the interface.
 */
export function removeGuards(pins: PinFolder, shape: string): void {
  for (const method of METHODS) {
    for (const pin of guardPins(pins, method, shape)) endGuard(pins, method, pin, shape);
  }
}

/** Detaches one guard and drops its pins; a filter only where this thread's namespace has the interface. */
export function endGuard(pins: PinFolder, method: GuardMethod, pin: GuardPin, shape?: string): void {
  const kind = PINS[method];
  if (method === 'clsact') {
    const made = `${pin.name}${MADE}`;
    const isMade = pins.list(kind, shape).includes(made);
    if (isFilterOf(pins, pin, shape)) {
      removeFilter(pin.index);
      if (isMade) removeClsact(pin.index);
    }
    for (const beside of [made, `${pin.name}${NEXT}`])
      if (pins.list(kind, shape).includes(beside)) pins.drop(kind, beside, shape);
  } else {
    const fd = pins.get(kind, pin.name, shape);
    if (fd === undefined) return;
    detach(fd);
    closeFd(fd);
  }
  pins.drop(kind, pin.name, shape);
}

/** Is a pinned program the one in our place at the interface, in this thread's namespace? */
export function isFilterOf(pins: PinFolder, pin: GuardPin, shape?: string): boolean {
  return isFilter(pins, pin, pin.name, shape) || isFilter(pins, pin, `${pin.name}${NEXT}`, shape);
}

function isFilter(pins: PinFolder, pin: GuardPin, name: string, shape?: string): boolean {
  const fd = pins.get('filters', name, shape);
  if (fd === undefined) return false;
  try {
    return filterAt(pin.index) === programId(fd);
  } finally {
    closeFd(fd);
  }
}

/**
 * Puts a program in the place of the one that stands there, in one step, and says so by the pins. What an earlier process
 * began is finished first.
 */
export function replaceFilter(pins: PinFolder, pin: GuardPin, program: number): void {
  const next = `${pin.name}${NEXT}`;
  if (isFilter(pins, pin, next)) pins.rename('filters', next, pin.name);
  else if (pins.list('filters').includes(next)) pins.drop('filters', next);
  pins.put('filters', next, program);
  putFilter(program, pin.index);
  pins.rename('filters', next, pin.name);
}

/** The guards of an instance that were attached in one way. */
export function guardPins(pins: PinFolder, method: GuardMethod, shape?: string): GuardPin[] {
  return pins.list(PINS[method], shape).flatMap((name) => {
    const [, cookie, index] = /^(\d+)-(\d+)$/.exec(name) ?? [];
    return cookie === undefined ? [] : [{ name, cookie: BigInt(cookie), index: Number(index) }];
  });
}

export function pinName(cookie: bigint, index: number): string {
  return `${cookie}-${index}`;
}
