/** The structures of bpf/observe.h, byte for byte. */
import { ipFromBytes } from '../ip.ts';
import { buffer, type Endpoint } from './layout.ts';

export const OBSERVED_POD_BYTES = 16;
export const OBSERVED_USE_BYTES = 16;
export const OBSERVED_CONNECTION_BYTES = 128;

/**
 * Counted up with each change of bpf/observe.h. Maps of another version are not brought over: they hold the last second of
 * what was seen, and begin empty.
 */
export const OBSERVE_VERSION = 1;

const STATES = ['connecting', 'open', 'over'] as const;
/** enum of include/net/tcp_states.h, by number. */
const TCP_STATES = [
  '',
  ...(['established', 'syn-sent', 'syn-recv', 'fin-wait-1', 'fin-wait-2', 'time-wait'] as const),
  ...(['close', 'close-wait', 'last-ack', 'listen', 'closing', 'new-syn-recv'] as const),
];
const DIALLED = 1;
const ESTABLISHED = 2;

/** Offsets within `struct observed_connection`. */
const AT = {
  netns: 0,
  began: 8,
  established: 16,
  ended: 24,
  changed: 32,
  sent: 40,
  received: 48,
  local: 56,
  remote: 72,
  localPort: 88,
  remotePort: 90,
  state: 92,
  flags: 96,
  srtt: 100,
  rttMin: 104,
  retransmits: 108,
  segments: 112,
  error: 116,
  lastState: 120,
  softError: 124,
} as const;
const IP_BYTES = 16;

/** A connection of an observed pod. Times are of the kernel's monotonic clock, in ns. */
export interface ObservedConnection {
  /** Of its socket, never used twice while the machine runs. */
  readonly cookie: bigint;
  readonly netns: bigint;
  /** By the pod, or accepted by it. */
  readonly dialled: boolean;
  readonly state: (typeof STATES)[number];
  readonly began: bigint;
  /** Undefined: it never was open. */
  readonly established: bigint | undefined;
  readonly ended: bigint | undefined;
  readonly local: Endpoint;
  readonly remote: Endpoint;
  /** Bytes of the application that the other end acknowledged. */
  readonly sent: number;
  readonly received: number;
  /** Smoothed round-trip time in µs; undefined: none was measured. */
  readonly rttUs: number | undefined;
  readonly rttMinUs: number | undefined;
  /** Segments sent again, SYNs among them. */
  readonly retransmits: number;
  /** Segments sent, those sent again among them. */
  readonly segments: number;
  /** Errno of its end; 0: none. */
  readonly error: number;
  /** Errno of a message of ICMP that TCP did not end it for; 0: none. */
  readonly softError: number;
  /** Of TCP, before it was closed; empty while it is not. */
  readonly lastState: string;
}

/** When an entry was last written, without decoding the rest of it. */
export function changedAt(value: Buffer, at: number): bigint {
  return value.readBigUInt64LE(at + AT.changed);
}

/** The pod of an entry. */
export function netnsAt(value: Buffer, at: number): bigint {
  return value.readBigUInt64LE(at + AT.netns);
}

/** Whether an entry is over. */
export function isOverAt(value: Buffer, at: number): boolean {
  return STATES[value.readUInt32LE(at + AT.state)] === 'over';
}

/** Reads `struct observed_connection` at an offset. */
export function readObserved(cookie: bigint, value: Buffer, at: number): ObservedConnection {
  const u32 = (field: number): number => value.readUInt32LE(at + field);
  const time = (field: number): bigint | undefined => value.readBigUInt64LE(at + field) || undefined;
  const endpoint = (ip: number, port: number): Endpoint => ({
    ip: ipFromBytes(value.subarray(at + ip, at + ip + IP_BYTES)),
    port: value.readUInt16LE(at + port),
  });
  // What was never measured is 0; the minimum then is all ones.
  const rttMin = u32(AT.rttMin);
  return {
    cookie,
    netns: netnsAt(value, at),
    dialled: (u32(AT.flags) & DIALLED) !== 0,
    state: STATES[u32(AT.state)] ?? 'over',
    began: value.readBigUInt64LE(at + AT.began),
    established: (u32(AT.flags) & ESTABLISHED) === 0 ? undefined : time(AT.established),
    ended: time(AT.ended),
    local: endpoint(AT.local, AT.localPort),
    remote: endpoint(AT.remote, AT.remotePort),
    sent: Number(value.readBigUInt64LE(at + AT.sent)),
    received: Number(value.readBigUInt64LE(at + AT.received)),
    rttUs: u32(AT.srtt) || undefined,
    rttMinUs: rttMin === 0xffff_ffff ? undefined : rttMin || undefined,
    retransmits: u32(AT.retransmits),
    segments: u32(AT.segments),
    error: u32(AT.error),
    softError: u32(AT.softError),
    lastState: TCP_STATES[u32(AT.lastState)] ?? '',
  };
}

/** @param removed entries that were taken out */
export function encodeObservedPod(cap: number, removed: bigint): Buffer {
  const bytes = buffer(OBSERVED_POD_BYTES);
  bytes.writeBigUInt64LE(BigInt(cap), 0);
  bytes.writeBigUInt64LE(removed, 8);
  return bytes;
}

export function decodeObservedUse(bytes: Buffer): { readonly inserted: bigint; readonly refused: number } {
  return { inserted: bytes.readBigUInt64LE(0), refused: Number(bytes.readBigUInt64LE(8)) };
}
