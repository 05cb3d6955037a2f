/**
 * The structures that the BPF programs and user space share, as bpf/types.h has them, byte for byte.
 * The machine is little endian throughout (x86-64, arm64); addresses and ports of sockets are in network order.
 */
import ipaddr from 'ipaddr.js';
import { BpfError } from './errors.ts';

/** Changes whenever bpf/types.h or bpf/maps.h changes a layout: pins of different layouts never mix. */
export const LAYOUT_VERSION = 1;

/** An IPv4 address in dotted form, and a port. */
export interface Endpoint {
  readonly ip: string;
  readonly port: number;
}

export const ADDRESS_BYTES = 20;
export const POD_BYTES = 24;
export const POD_USE_BYTES = 40;
export const TUPLE_BYTES = 48;
export const RECORD_BYTES = 48;
export const OWN_SOCKET_BYTES = 24;
export const LISTENER_KEY_BYTES = 16;
export const SELF_BYTES = 24;

const OWN_SOCKET_TRUE_PEER = 1;
const MAPPED_BYTES = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff];

/** The roles of a pod's listeners and their numbers in the map. */
export const LISTENER_ROLES = { outbound: 0, plaintext: 1, hbone: 2 } as const;
export type ListenerRole = keyof typeof LISTENER_ROLES;

/** The kinds of records, by number. */
export const RECORD_KINDS = ['outbound', 'toApplication', 'hairpin'] as const;

/** The counters in the order of bpf/counters.h. */
export const COUNTERS = [
  'captured',
  'ownConnects',
  'loopbackConnects',
  'refusedIpv6',
  'refusedCap',
  'refusedStorage',
  'recorded',
  'recordCap',
  'recordsFull',
  'consumed',
  'withdrawn',
  'consumeStorageFailed',
  'steeredOutbound',
  'steeredPlaintext',
  'steeredHbone',
  'passedLoopback',
  'passedToApplication',
  'droppedNoListener',
  'droppedNoRecord',
  'droppedStale',
  'droppedIpv6',
  'droppedListenerPort',
] as const;
export type Counter = (typeof COUNTERS)[number];

/** What a pod's entry says. */
export interface PodEntry {
  readonly generation: bigint;
  readonly ip: string;
  readonly cap: number;
  readonly portLow: number;
  readonly portCount: number;
}

/** A buffer over memory of its own: koffi hands its address to the kernel. */
export function buffer(bytes: number): Buffer<ArrayBuffer> {
  return Buffer.from(new ArrayBuffer(bytes));
}

/**
 * The four bytes of an IPv4 address, which may be given v4-mapped.
 *
 * @throws BpfError BPF_ARGUMENT for anything else
 */
export function ipv4Bytes(ip: string): number[] {
  if (ipaddr.IPv4.isValidFourPartDecimal(ip)) return ipaddr.IPv4.parse(ip).octets;
  if (ipaddr.IPv6.isValid(ip)) {
    const v6 = ipaddr.IPv6.parse(ip);
    if (v6.isIPv4MappedAddress()) return v6.toIPv4Address().octets;
  }
  throw new BpfError('BPF_ARGUMENT', `${JSON.stringify(ip)} is not an IPv4 address in dotted form`);
}

/** Writes `struct address` at an offset. */
export function writeAddress(out: Buffer, offset: number, endpoint: Endpoint): void {
  if (!Number.isInteger(endpoint.port) || endpoint.port < 0 || endpoint.port > 0xffff) {
    throw new BpfError('BPF_ARGUMENT', `${endpoint.port} is not a port; allowed: 0 to 65535`);
  }
  out.set(MAPPED_BYTES, offset);
  out.set(ipv4Bytes(endpoint.ip), offset + 12);
  out.writeUInt16BE(endpoint.port, offset + 16);
  out.writeUInt16LE(0, offset + 18);
}

/** Reads `struct address`; undefined when it is not an IPv4 address. */
export function readAddress(bytes: Buffer, offset: number): Endpoint | undefined {
  if (!MAPPED_BYTES.every((byte, i) => bytes[offset + i] === byte)) return undefined;
  const ip = bytes.subarray(offset + 12, offset + 16).join('.');
  return { ip, port: bytes.readUInt16BE(offset + 16) };
}

/** A map key that is a netns cookie. */
export function cookieKey(cookie: bigint): Buffer {
  const key = buffer(8);
  key.writeBigUInt64LE(cookie, 0);
  return key;
}

/** `struct pod`. */
export function encodePod(pod: PodEntry): Buffer {
  const out = buffer(POD_BYTES);
  out.writeBigUInt64LE(pod.generation, 0);
  out.set(ipv4Bytes(pod.ip), 8);
  out.writeUInt32LE(pod.cap, 12);
  out.writeUInt16LE(pod.portLow, 16);
  out.writeUInt16LE(pod.portCount, 18);
  return out;
}

/** Reads `struct pod`. */
export function decodePod(bytes: Buffer): PodEntry {
  return {
    generation: bytes.readBigUInt64LE(0),
    ip: bytes.subarray(8, 12).join('.'),
    cap: bytes.readUInt32LE(12),
    portLow: bytes.readUInt16LE(16),
    portCount: bytes.readUInt16LE(18),
  };
}

/** `self`, the constants of one sk_lookup program. */
export function encodeSelf(cookie: bigint, pod: PodEntry): Buffer {
  const out = buffer(SELF_BYTES);
  out.writeBigUInt64LE(cookie, 0);
  out.writeBigUInt64LE(pod.generation, 8);
  out.set(ipv4Bytes(pod.ip), 16);
  return out;
}

/** `struct listener_key`. */
export function listenerKey(cookie: bigint, role: ListenerRole): Buffer {
  const key = buffer(LISTENER_KEY_BYTES);
  key.writeBigUInt64LE(cookie, 0);
  key.writeUInt32LE(LISTENER_ROLES[role], 8);
  return key;
}

/** Writes `struct own_socket` into a buffer that is used again and again. */
export function writeOwnSocket(out: Buffer, truePeer: Endpoint | undefined): void {
  out.fill(0);
  if (truePeer === undefined) return;
  writeAddress(out, 0, truePeer);
  out.writeUInt32LE(OWN_SOCKET_TRUE_PEER, ADDRESS_BYTES);
}
