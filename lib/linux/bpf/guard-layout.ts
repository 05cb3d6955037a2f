/** The structures of the guard, as bpf/guard.h has them, byte for byte. Addresses in network order, IPv4 mapped. */
import { IP_BYTES, ipToBytes } from '../ip.ts';
import { BpfError } from './errors.ts';
import { buffer } from './layout.ts';

/** Addresses that one pod may send from. */
export const GUARD_SOURCES = 4;
export const GUARD_BYTES = IP_BYTES * GUARD_SOURCES + 8;

/** Why the guard drops a packet, in the order of bpf/guard.h. */
export const GUARD_REASONS = [
  'source',
  'syn',
  'fragment',
  'options',
  'extension',
  'vlan',
  'ethertype',
  'protocol',
  'neighbour',
  'malformed',
] as const;
export type GuardReason = (typeof GUARD_REASONS)[number];
/** Packets of one pod that were dropped, by reason. */
export type GuardDrops = Readonly<Record<GuardReason, number>>;
export const GUARD_DROPS_BYTES = 8 * GUARD_REASONS.length;

/**
 * `struct guard`.
 *
 * @throws BpfError BPF_ARGUMENT for what is no address, or for more than {@link GUARD_SOURCES}
 */
export function encodeGuard(sources: readonly string[]): Buffer {
  if (sources.length > GUARD_SOURCES) {
    throw new BpfError('BPF_ARGUMENT', `${sources.length} addresses of a pod; allowed: ${GUARD_SOURCES}`);
  }
  const out = buffer(GUARD_BYTES);
  sources.forEach((ip, i) => {
    const bytes = ipToBytes(ip);
    if (bytes === undefined) {
      throw new BpfError('BPF_ARGUMENT', `${JSON.stringify(ip)} is not an IP address`);
    }
    out.set(bytes, IP_BYTES * i);
  });
  out.writeUInt32LE(sources.length, IP_BYTES * GUARD_SOURCES);
  return out;
}

/** Reads `struct guard_drops`. */
export function decodeGuardDrops(bytes: Buffer): GuardDrops {
  const entries = GUARD_REASONS.map((reason, i) => [reason, Number(bytes.readBigUInt64LE(8 * i))] as const);
  return Object.fromEntries(entries) as Record<GuardReason, number>;
}
