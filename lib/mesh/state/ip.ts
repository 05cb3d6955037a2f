import { isIP, isIPv4 } from 'node:net';
import ipaddr from 'ipaddr.js';

const V4_BYTES = 4;
const V6_BYTES = 16;
/** The length of the prefix `::ffff:0:0`, under which an IPv4 address is written as an IPv6 one (RFC 4291 2.5.5.2). */
const V4_MAPPED_PREFIX_BITS = 96;

/** How far an address reaches; `global` is all that another pod or host can have, private ranges too. */
export type IpScope = 'unspecified' | 'loopback' | 'link-local' | 'multicast' | 'reserved' | 'global';

/** A range of addresses. IPv4-mapped IPv6 is kept as IPv4, so that each address has one form only. */
export interface Cidr {
  /** 4 or 16 bytes in network order. */
  readonly bytes: readonly number[];
  /** Leading bits that must agree: 0 to 32, or 0 to 128. */
  readonly length: number;
}

/**
 * The one written form of an address: dotted IPv4 (also for IPv4-mapped IPv6), or RFC 5952 IPv6 without a zone.
 *
 * @returns undefined when the bytes are neither 4 nor 16
 */
export function ipFromBytes(bytes: Uint8Array): string | undefined {
  if (bytes.length === V4_BYTES) return bytes.join('.');
  if (bytes.length !== V6_BYTES) return undefined;
  if (isV4Mapped(bytes)) return bytes.subarray(V6_BYTES - V4_BYTES).join('.');
  return new ipaddr.IPv6([...bytes]).toRFC5952String();
}

/** The bytes of an address: 4 for IPv4 and IPv4-mapped, else 16; undefined for what is no address. */
export function ipToBytes(ip: string): number[] | undefined {
  const bytes = writtenBytes(ip);
  return bytes && isV4Mapped(bytes) ? bytes.slice(V6_BYTES - V4_BYTES) : bytes;
}

/** The bytes as they are written: 16 for IPv4-mapped. */
function writtenBytes(ip: string): number[] | undefined {
  if (isIPv4(ip)) return ip.split('.').map(Number);
  const withoutZone = ip.split('%', 1)[0] ?? ip;
  if (isIP(withoutZone) === 0) return undefined;
  // ipaddr.js takes the deprecated IPv4-compatible form for a mapped address, which it is not (RFC 4291 2.5.5.1).
  const compatible = /^::(\d+\.\d+\.\d+\.\d+)$/.exec(withoutZone)?.[1];
  if (compatible === undefined) return ipaddr.IPv6.parse(withoutZone).toByteArray();
  return [...Array<number>(V6_BYTES - V4_BYTES).fill(0), ...compatible.split('.').map(Number)];
}

/** The one written form of an address, see {@link ipFromBytes}; undefined for what is no address. */
export function canonicalIp(ip: string): string | undefined {
  if (isIPv4(ip)) return ip;
  const bytes = ipToBytes(ip);
  return bytes && ipFromBytes(Uint8Array.from(bytes));
}

/** Whether an address in its one written form is IPv6. */
export function isIpv6(ip: string): boolean {
  return ip.includes(':');
}

/**
 * How far an address reaches (RFC 6890, RFC 4291 section 2.4); undefined for what is no address. 0.0.0.0/8 counts as
 * unspecified, 240.0.0.0/4 and the deprecated IPv4-compatible `::/96` as reserved.
 */
export function ipScope(ip: string): IpScope | undefined {
  const bytes = ipToBytes(ip);
  if (bytes === undefined) return undefined;
  const [a = 0, b = 0] = bytes;
  if (bytes.length === V4_BYTES) {
    if (a === 0) return 'unspecified';
    if (a === 127) return 'loopback';
    if (a === 169 && b === 254) return 'link-local';
    if (a >= 240) return 'reserved';
    return a >= 224 ? 'multicast' : 'global';
  }
  if (a === 0xff) return 'multicast';
  if (a === 0xfe && (b & 0xc0) === 0x80) return 'link-local';
  if (bytes.slice(0, V6_BYTES - V4_BYTES).some((byte) => byte !== 0)) return 'global';
  const low = bytes.slice(V6_BYTES - V4_BYTES).join('.');
  if (low === '0.0.0.0') return 'unspecified';
  return low === '0.0.0.1' ? 'loopback' : 'reserved';
}

/**
 * A range from its wire form.
 *
 * @returns undefined when the bytes are no address, or the length is longer than the address
 */
export function cidrFromBytes(bytes: Uint8Array, length: number): Cidr | undefined {
  if (bytes.length !== V4_BYTES && bytes.length !== V6_BYTES) return undefined;
  if (!Number.isInteger(length) || length < 0 || length > bytes.length * 8) return undefined;
  if (isV4Mapped(bytes) && length >= V4_MAPPED_PREFIX_BITS) {
    return { bytes: [...bytes.subarray(V6_BYTES - V4_BYTES)], length: length - V4_MAPPED_PREFIX_BITS };
  }
  return { bytes: [...bytes], length };
}

/**
 * A range as it is written, `ADDRESS/LENGTH`, or one address.
 *
 * @returns undefined for what is neither
 */
export function cidrFromText(text: string): Cidr | undefined {
  const [address = '', length, ...more] = text.split('/');
  const bytes = address.includes('%') || more.length > 0 ? undefined : writtenBytes(address);
  if (bytes === undefined) return undefined;
  if (length === undefined) return cidrFromBytes(Uint8Array.from(bytes), bytes.length * 8);
  return /^(0|[1-9]\d{0,2})$/.test(length)
    ? cidrFromBytes(Uint8Array.from(bytes), Number(length))
    : undefined;
}

/** Whether the range holds the address (bytes of {@link ipToBytes}); an IPv6 range never holds an IPv4 address. */
export function cidrContains(cidr: Cidr, address: readonly number[]): boolean {
  if (cidr.bytes.length !== address.length) return false;
  const whole = cidr.length >> 3;
  for (let i = 0; i < whole; i++) if (cidr.bytes[i] !== address[i]) return false;
  const rest = cidr.length & 7;
  if (rest === 0) return true;
  const mask = 0xff << (8 - rest);
  return (((cidr.bytes[whole] ?? 0) ^ (address[whole] ?? 0)) & mask & 0xff) === 0;
}

/** The network part of an address as text, to be used as a key of ranges of that length. */
export function prefixKey(address: readonly number[], length: number): string {
  const masked = address.map((byte, i) => {
    const bits = Math.min(8, Math.max(0, length - i * 8));
    return byte & (0xff << (8 - bits)) & 0xff;
  });
  return `${masked.join('.')}/${length}`;
}

function isV4Mapped(bytes: ArrayLike<number>): boolean {
  if (bytes.length !== V6_BYTES || bytes[10] !== 0xff || bytes[11] !== 0xff) return false;
  for (let i = 0; i < 10; i++) if (bytes[i] !== 0) return false;
  return true;
}
