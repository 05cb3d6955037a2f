/**
 * IP addresses as the kernel parts of Loam keep them: 16 bytes, an IPv4 address as `::ffff:a.b.c.d` (RFC 4291 2.5.5.2),
 * and as text in one form only, so that two spellings of one address are never taken for two.
 */
import ipaddr from 'ipaddr.js';
import { sys } from './libc.ts';

export const IP_BYTES = 16;
const MAPPED_PREFIX = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff];

const AF_INET = 2;
const AF_INET6 = 10;

// Used again and again: the C library reads an address faster than a library does, and every connection has some.
const scratch = new Uint8Array(new ArrayBuffer(IP_BYTES));

export type IpFamily = 4 | 6;

/**
 * The bytes of an address in network order: IPv4 dotted (four decimal parts), or IPv6 without a zone, also v4-mapped.
 *
 * @returns undefined for anything else; names are not resolved
 */
export function ipToBytes(ip: string): number[] | undefined {
  if (ip.includes('\0')) return undefined; // where a C string would end
  if (ip.includes(':')) return sys.inetPton(AF_INET6, ip, scratch) === 1 ? [...scratch] : undefined;
  return sys.inetPton(AF_INET, ip, scratch) === 1 ? [...MAPPED_PREFIX, ...scratch.subarray(0, 4)] : undefined;
}

/** The text of 16 bytes: dotted for IPv4, which is kept v4-mapped, else as RFC 5952 writes IPv6. */
export function ipFromBytes(bytes: Uint8Array): string {
  if (isMapped(bytes)) return bytes.subarray(MAPPED_PREFIX.length, IP_BYTES).join('.');
  return new ipaddr.IPv6([...bytes.subarray(0, IP_BYTES)]).toRFC5952String();
}

/** The one text of an address; undefined for what is none. */
export function canonicalIp(ip: string): string | undefined {
  const bytes = ipToBytes(ip);
  return bytes && ipFromBytes(Uint8Array.from(bytes));
}

/** The family in which an address is dialled: a v4-mapped one is IPv4. Undefined for what is no address. */
export function ipFamily(ip: string): IpFamily | undefined {
  const bytes = ipToBytes(ip);
  return bytes && (isMapped(bytes) ? 4 : 6);
}

function isMapped(bytes: ArrayLike<number>): boolean {
  return MAPPED_PREFIX.every((byte, i) => bytes[i] === byte);
}
