/**
 * The structures that the BPF programs and user space share, as bpf/types.h has them, byte for byte.
 * The machine is little endian throughout (x86-64, arm64); addresses and ports of sockets are in network order.
 */
import { IP_BYTES, ipFamily, ipFromBytes, ipToBytes } from '../ip.ts';
import { BpfError } from './errors.ts';

/** An IP address in its one form (lib/linux/ip.ts), and a port. */
export interface Endpoint {
  readonly ip: string;
  readonly port: number;
}

export const ADDRESS_BYTES = 20;
export const POD_BYTES = 48;
export const POD_USE_BYTES = 40;
export const TUPLE_BYTES = 48;
export const RECORD_BYTES = 48;
export const OWN_SOCKET_BYTES = 24;
export const LISTENER_KEY_BYTES = 16;
export const SELF_BYTES = 40;
export const ROUTE_KEY_BYTES = 28;
export const ROUTE_BYTES = 4;
export const KUBELET_BYTES = 16;
export const PROBE_KEY_BYTES = 36;
export const PROBE_BYTES = 16;
/** Most ports at which one pod is probed. */
export const PROBE_PORTS = 32;
export const PROBE_PORTS_BYTES = 2 * PROBE_PORTS;
/** `bits` of a route that is a pod's for all destinations: the netns cookie alone. */
export const ROUTE_COOKIE_BITS = 64;

const OWN_SOCKET_TRUE_PEER = 1;
const V4_AT = IP_BYTES - 4;
const RECORD_KIND_AT = 24;

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
  'refusedFamily',
  'refusedScope',
  'refusedDevice',
  'refusedCap',
  'refusedStorage',
  'refusedEntry',
  'refusedRoute',
  'offConnects',
  'recorded',
  'recordCap',
  'recordsFull',
  'consumed',
  'withdrawn',
  'consumeStorageFailed',
  'probed',
  'probesFull',
  'steeredOutbound',
  'steeredPlaintext',
  'steeredHbone',
  'passedLoopback',
  'passedToApplication',
  'passedOff',
  'passedProbe',
  'droppedNoListener',
  'droppedNoRecord',
  'droppedStale',
  'droppedMapped',
  'droppedListenerPort',
] as const;
export type Counter = (typeof COUNTERS)[number];

/** What a pod's entry says. */
export interface PodEntry {
  readonly generation: bigint;
  /** One or two, at most one of each family. */
  readonly ips: readonly string[];
  readonly cap: number;
  readonly portLow: number;
  readonly portCount: number;
  /** Index of the interface that has the IPv4 and the IPv6 address; 0: none. */
  readonly deviceV4: number;
  readonly deviceV6: number;
}

/** A buffer over memory of its own: koffi hands its address to the kernel. */
export function buffer(bytes: number): Buffer<ArrayBuffer> {
  return Buffer.from(new ArrayBuffer(bytes));
}

/** Writes `struct address` at an offset. @throws BpfError BPF_ARGUMENT for what is no address or no port */
export function writeAddress(out: Buffer, offset: number, endpoint: Endpoint): void {
  if (!Number.isInteger(endpoint.port) || endpoint.port < 0 || endpoint.port > 0xffff) {
    throw new BpfError('BPF_ARGUMENT', `${endpoint.port} is not a port; allowed: 0 to 65535`);
  }
  out.set(addressBytes(endpoint.ip), offset);
  out.writeUInt16BE(endpoint.port, offset + IP_BYTES);
  out.writeUInt16LE(0, offset + IP_BYTES + 2);
}

/** Reads `struct address`. */
export function readAddress(bytes: Buffer, offset: number): Endpoint {
  return {
    ip: ipFromBytes(bytes.subarray(offset, offset + IP_BYTES)),
    port: bytes.readUInt16BE(offset + IP_BYTES),
  };
}

function addressBytes(ip: string): number[] {
  const bytes = ipToBytes(ip);
  if (bytes !== undefined) return bytes;
  throw new BpfError('BPF_ARGUMENT', `${JSON.stringify(ip)} is no IP address; allowed: IPv4 dotted, or IPv6`);
}

/** A map key that is a netns cookie. */
export function cookieKey(cookie: bigint): Buffer {
  const key = buffer(8);
  key.writeBigUInt64LE(cookie, 0);
  return key;
}

/** A node's kubelet, told from every other process whichever pid namespace the agent is in. */
export interface Kubelet {
  /** Cookie of the network namespace that it dials from. */
  readonly netns: bigint;
  /** When it began, in hundredths of a second since the machine started, as /proc/PID/stat has it. */
  readonly start: number;
  /** Its id in its own pid namespace. */
  readonly pid: number;
  /** Inode of its pid namespace. */
  readonly pidNamespace: number;
}

/** `struct kubelet`. */
export function encodeKubelet({ start, pid, pidNamespace }: Kubelet): Buffer {
  const out = buffer(KUBELET_BYTES);
  out.writeBigUInt64LE(BigInt(start), 0);
  out.writeUInt32LE(pid, 8);
  out.writeUInt32LE(pidNamespace, 12);
  return out;
}

/** `struct probe_ports`. @param ports at most {@link PROBE_PORTS}, the rest is left out */
export function encodeProbePorts(ports: readonly number[]): Buffer {
  const out = buffer(PROBE_PORTS_BYTES);
  ports.slice(0, PROBE_PORTS).forEach((port, i) => out.writeUInt16LE(port, 2 * i));
  return out;
}

/** `struct pod`. */
export function encodePod(pod: PodEntry): Buffer {
  const out = buffer(POD_BYTES);
  out.writeBigUInt64LE(pod.generation, 0);
  writeOwnAddresses(out, 8, pod.ips);
  out.writeUInt32LE(pod.cap, 28);
  out.writeUInt16LE(pod.portLow, 32);
  out.writeUInt16LE(pod.portCount, 34);
  out.writeUInt32LE(pod.deviceV4, 36);
  out.writeUInt32LE(pod.deviceV6, 40);
  return out;
}

/** Reads `struct pod`. */
export function decodePod(bytes: Buffer): PodEntry {
  return {
    generation: bytes.readBigUInt64LE(0),
    ips: readOwnAddresses(bytes, 8),
    cap: bytes.readUInt32LE(28),
    portLow: bytes.readUInt16LE(32),
    portCount: bytes.readUInt16LE(34),
    deviceV4: bytes.readUInt32LE(36),
    deviceV6: bytes.readUInt32LE(40),
  };
}

/** Records that a pod has under way, by kind, and connections that were refused because of the cap or a full map. */
export interface PodUse {
  readonly outstanding: Readonly<Record<(typeof RECORD_KINDS)[number], number>>;
  readonly refusedCap: number;
  readonly refusedFull: number;
}

/** Reads `struct pod_use`. */
export function decodePodUse(bytes: Buffer): PodUse {
  const read = (i: number) => Number(bytes.readBigInt64LE(8 * i));
  const outstanding = Object.fromEntries(RECORD_KINDS.map((kind, i) => [kind, read(i)]));
  return {
    outstanding: outstanding as PodUse['outstanding'],
    refusedCap: read(RECORD_KINDS.length),
    refusedFull: read(RECORD_KINDS.length + 1),
  };
}

/** `struct pod_use` of a pod that was refused nothing yet. @param outstanding by number of the kind */
export function encodePodUse(outstanding: readonly number[]): Buffer {
  const out = buffer(POD_USE_BYTES);
  RECORD_KINDS.forEach((_, i) => out.writeBigInt64LE(BigInt(outstanding[i] ?? 0), 8 * i));
  return out;
}

/** The number of the kind in `struct record`. */
export function kindOfRecord(bytes: Buffer): number {
  return bytes.readUInt32LE(RECORD_KIND_AT);
}

/** `self`, the constants of one sk_lookup program. */
export function encodeSelf(cookie: bigint, pod: PodEntry): Buffer {
  const out = buffer(SELF_BYTES);
  out.writeBigUInt64LE(cookie, 0);
  out.writeBigUInt64LE(pod.generation, 8);
  writeOwnAddresses(out, 16, pod.ips);
  return out;
}

/** `struct own_addresses`: the IPv4 address, then the IPv6 address, of which zero means that there is none. */
function writeOwnAddresses(out: Buffer, offset: number, ips: readonly string[]): void {
  for (const ip of ips) {
    const bytes = addressBytes(ip);
    if (ipFamily(ip) === 4) out.set(bytes.slice(V4_AT), offset);
    else out.set(bytes, offset + 4);
  }
}

function readOwnAddresses(bytes: Buffer, offset: number): string[] {
  const v4 = bytes.subarray(offset, offset + 4);
  const v6 = bytes.subarray(offset + 4, offset + 4 + IP_BYTES);
  return [
    ...(v4.some((byte) => byte !== 0) ? [v4.join('.')] : []),
    ...(v6.some((byte) => byte !== 0) ? [ipFromBytes(v6)] : []),
  ];
}

/** `struct listener_key`. */
export function listenerKey(cookie: bigint, role: ListenerRole): Buffer {
  const key = buffer(LISTENER_KEY_BYTES);
  key.writeBigUInt64LE(cookie, 0);
  key.writeUInt32LE(LISTENER_ROLES[role], 8);
  return key;
}

/** `struct route_key`. @param prefix an IPv6 prefix of so many bits, the rest of its bytes zero */
export function routeKey(cookie: bigint, prefix: Uint8Array, bits: number): Buffer {
  const key = buffer(ROUTE_KEY_BYTES);
  key.writeUInt32LE(ROUTE_COOKIE_BITS + bits, 0);
  key.writeBigUInt64LE(cookie, 4);
  key.set(prefix, 12);
  return key;
}

/** Whose route a key of that map is. */
export function cookieOfRoute(key: Buffer): bigint {
  return key.readBigUInt64LE(4);
}

/** Writes `struct own_socket` into a buffer that is used again and again. */
export function writeOwnSocket(out: Buffer, truePeer: Endpoint | undefined): void {
  out.fill(0);
  if (truePeer === undefined) return;
  writeAddress(out, 0, truePeer);
  out.writeUInt32LE(OWN_SOCKET_TRUE_PEER, ADDRESS_BYTES);
}
