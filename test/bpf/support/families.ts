/** What differs between the families of addresses in tests that are the same for all of them. */
import type { Pod } from './lab.ts';
import type { Address } from './socket.ts';

/** A kind of socket and the form of address that it dials. */
export interface FamilyCase {
  readonly name: string;
  /** Of the socket. */
  readonly family: 4 | 6;
  /** Somewhere that no pod of the lab has, as the socket is told and shown it. */
  readonly service: Address;
  readonly loopback: string;
  /** What a listener is bound to for all addresses. */
  readonly any: string;
  /** The pod's own address, in the socket's form. */
  readonly own: (pod: Pod) => string;
}

export const IPV4: FamilyCase = {
  name: 'IPv4',
  family: 4,
  service: { ip: '198.19.0.10', port: 80 },
  loopback: '127.0.0.1',
  any: '0.0.0.0',
  own: (pod) => pod.ip,
};

export const IPV6: FamilyCase = {
  name: 'IPv6',
  family: 6,
  service: { ip: 'fd00:99::10', port: 80 },
  loopback: '::1',
  any: '::',
  own: (pod) => pod.ip6,
};

/** As Java and Node do by default: an IPv6 socket for IPv4. */
export const MAPPED: FamilyCase = {
  name: 'v4-mapped',
  family: 6,
  service: { ip: '::ffff:198.19.0.10', port: 80 },
  loopback: '::ffff:127.0.0.1',
  any: '::',
  own: (pod) => `::ffff:${pod.ip}`,
};

export const FAMILIES = [IPV4, IPV6, MAPPED];

/** The same address as ztunnel and the kernel's maps have it. */
export function plain({ ip, port }: Address): Address {
  return { ip: ip.replace(/^::ffff:/, ''), port };
}
