import { readFileSync } from 'node:fs';
import type { Socket } from 'node:net';
import { socketFd } from './socket-fd.ts';

/** What is kept back for sockets to applications and tunnels, files, and the control plane: at most, and of the whole. */
const RESERVE = 512;
const RESERVE_SHARE = 1 / 8;

/**
 * Keeps the process from running out of descriptors. At the limit libuv closes what it accepts without a word, and
 * neither a tunnel nor an application could be dialled any more; before it, new connections are refused, and it is said.
 */
export class DescriptorReserve {
  /** How many the process may have. */
  readonly limit: number;
  readonly #reservedFrom: number;

  constructor(limit: number = softLimit()) {
    this.limit = limit;
    this.#reservedFrom = limit - Math.min(RESERVE, Math.floor(limit * RESERVE_SHARE));
  }

  /** Whether an accepted socket is one too many. The kernel gives the lowest free number, so a high one says how many are in use. */
  isTouchedBy(socket: Socket): boolean {
    return (socketFd(socket) ?? 0) >= this.#reservedFrom;
  }
}

/** Node raised it to the hard limit when it started. */
function softLimit(): number {
  const text = readFileSync('/proc/self/limits', 'utf8');
  const limit = /^Max open files\s+(\d+)/m.exec(text)?.[1];
  return limit === undefined ? Infinity : Number(limit);
}
