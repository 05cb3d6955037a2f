import type { Socket } from 'node:net';
import type { IpFamily } from '../../lib/linux/ip.ts';
import { PRIVATE_SOURCES_PREFIX } from '../../lib/linux/private-sources.ts';
import type { Dialer } from '../../lib/mesh/hbone/dialer.ts';
import type { HostPort } from '../../lib/mesh/hbone/hbone-headers.ts';

/**
 * The sockets of one pod, made inside its network namespace. The data path uses this and never net.* directly, so that
 * tests put ordinary sockets in its place.
 */
export interface PodSockets extends Dialer {
  /** The pod is gone: from now on nothing can be dialled. */
  close(): void;
  /** Connects to the pod's own application, which shall see `truePeer` as its client. Not connected yet on return. */
  dialApplication(target: HostPort, truePeer: HostPort): Socket;
  /** Where the application wanted to go whose connection the outbound listener accepted; undefined: not known. */
  originalDst(accepted: Socket): HostPort | undefined;
}

/**
 * Source addresses towards an application, rotating over 127/8, or over the pod's private /64: one address would give
 * only 28,000 connections to one port, TIME_WAIT included (FINDINGS F20). 127.0/16 is left out, since programs treat
 * 127.0.0.1 as a friend.
 */
export class InternalSources {
  #next = Math.floor(Math.random() * 0xffffff);

  /** @param family of the address that is dialled */
  next(family: IpFamily): string {
    this.#next = (this.#next + 1) % 0xffffff;
    const n = this.#next;
    if (family === 6) {
      // Never ::0, the routers' anycast address.
      return `${PRIVATE_SOURCES_PREFIX}:${((n >> 16) + 1).toString(16)}:${(n & 0xffff).toString(16)}`;
    }
    const b = 1 + ((n & 0xff) % 254);
    const c = (n >> 8) & 0xff;
    const d = 1 + (((n >> 16) & 0xff) % 254);
    return `127.${b}.${c}.${d}`;
  }
}
