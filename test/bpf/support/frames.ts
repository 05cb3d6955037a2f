/** Ethernet frames by hand, right and wrong, and sockets that send and see them. */
import ipaddr from 'ipaddr.js';
import { check, closeFd, errnoName, sys } from '../../../lib/linux/libc.ts';
import { inNetns } from '../../../lib/linux/netns.ts';
import { run, type Pod } from './lab.ts';

const AF_PACKET = 17;
const SOCK_RAW_CLOEXEC = 0o2000003;
const SOCK_NONBLOCK = 0o4000;
const ETH_P_ALL = 3;
const MAX_FRAME = 2048;

export const IP4 = 0x0800;
export const IP6 = 0x86dd;
export const ARP = 0x0806;
export const PROTOCOL = {
  hopByHop: 0,
  icmp: 1,
  igmp: 2,
  tcp: 6,
  udp: 17,
  routing: 43,
  fragment: 44,
  icmpv6: 58,
  destination: 60,
} as const;
export const FIN = 1;
export const SYN = 2;
export const RST = 4;
export const PSH = 8;
export const ACK = 16;
export const URG = 32;

/** An address and a port of either family. */
export interface End {
  readonly ip: string;
  readonly port: number;
}

function bytes(...values: readonly number[]): Buffer {
  return Buffer.from(values);
}

function word(value: number): Buffer {
  return bytes(value >> 8, value & 0xff);
}

export function ipBytes(ip: string): Buffer {
  return Buffer.from(ipaddr.parse(ip).toByteArray());
}

export function ethernet(
  to: Pick<Pod, 'netns'>,
  from: Pick<Pod, 'netns'>,
  type: number,
  payload: Buffer,
): Buffer {
  return Buffer.concat([mac(to), mac(from), word(type), payload]);
}

export interface Ipv4Fields {
  readonly source: string;
  readonly destination: string;
  readonly protocol: number;
  /** Padded to four bytes. */
  readonly options?: Buffer;
  /** In units of eight bytes. */
  readonly fragment?: { readonly offset: number; readonly more: boolean };
  readonly version?: number;
}

export function ipv4(fields: Ipv4Fields, payload: Buffer): Buffer {
  const { source, destination, protocol, options = Buffer.alloc(0), fragment, version = 4 } = fields;
  const words = 5 + Math.ceil(options.length / 4);
  const header = Buffer.alloc(words * 4);
  header[0] = (version << 4) | words;
  header.writeUInt16BE(header.length + payload.length, 2);
  header.writeUInt16BE(0x4c4d, 4);
  header.writeUInt16BE(fragment === undefined ? 0 : (fragment.more ? 0x2000 : 0) | fragment.offset, 6);
  header[8] = 64;
  header[9] = protocol;
  ipBytes(source).copy(header, 12);
  ipBytes(destination).copy(header, 16);
  options.copy(header, 20);
  header.writeUInt16BE(checksum(header), 10);
  return Buffer.concat([header, payload]);
}

export function ipv6(
  fields: {
    readonly source: string;
    readonly destination: string;
    readonly next: number;
    readonly hops?: number;
  },
  payload: Buffer,
): Buffer {
  const header = Buffer.alloc(40);
  header[0] = 0x60;
  header.writeUInt16BE(payload.length, 4);
  header[6] = fields.next;
  header[7] = fields.hops ?? 64;
  ipBytes(fields.source).copy(header, 8);
  ipBytes(fields.destination).copy(header, 24);
  return Buffer.concat([header, payload]);
}

/** A hop-by-hop or destination options header of eight bytes, with nothing but padding. */
export function optionsHeader(next: number): Buffer {
  return bytes(next, 0, 1, 4, 0, 0, 0, 0);
}

/** A fragment header. @param offset in units of eight bytes */
export function fragmentHeader(next: number, offset: number, more: boolean): Buffer {
  return Buffer.concat([bytes(next, 0), word((offset << 3) | (more ? 1 : 0)), bytes(0, 0, 0, 7)]);
}

/** A routing header of a type, with one address left to visit. */
export function routingHeader(next: number, type: number, via: string): Buffer {
  return Buffer.concat([bytes(next, 2, type, 1, 0, 0, 0, 0), ipBytes(via)]);
}

export function tcp(from: End, to: End, flags: number, payload: Buffer): Buffer {
  const header = Buffer.alloc(20);
  header.writeUInt16BE(from.port, 0);
  header.writeUInt16BE(to.port, 2);
  header.writeUInt32BE(0x12345678, 4);
  header[12] = 5 << 4;
  header[13] = flags;
  header.writeUInt16BE(65535, 14);
  return withChecksum(Buffer.concat([header, payload]), from.ip, to.ip, PROTOCOL.tcp, 16);
}

export function udp(from: End, to: End, payload: Buffer): Buffer {
  const header = Buffer.concat([word(from.port), word(to.port), word(8 + payload.length), word(0)]);
  return withChecksum(Buffer.concat([header, payload]), from.ip, to.ip, PROTOCOL.udp, 6);
}

/** Neighbour solicitation or advertisement about an address, or anything else of ICMPv6. */
export function icmpv6(from: string, to: string, type: number, body: Buffer): Buffer {
  return withChecksum(Buffer.concat([bytes(type, 0, 0, 0), body]), from, to, PROTOCOL.icmpv6, 2);
}

export function icmpEcho(payload: Buffer): Buffer {
  const message = Buffer.concat([bytes(8, 0, 0, 0, 0, 1, 0, 1), payload]);
  message.writeUInt16BE(checksum(message), 2);
  return message;
}

export function arp(operation: number, sender: Pod, senderIp: string, targetIp: string): Buffer {
  return Buffer.concat([
    ...[word(1), word(IP4), bytes(6, 4), word(operation)],
    ...[mac(sender), ipBytes(senderIp), Buffer.alloc(6), ipBytes(targetIp)],
  ]);
}

function withChecksum(message: Buffer, from: string, to: string, protocol: number, at: number): Buffer {
  const pseudo = Buffer.concat([ipBytes(from), ipBytes(to), word(protocol), word(message.length)]);
  message.writeUInt16BE(checksum(Buffer.concat([pseudo, message])), at);
  return message;
}

/** RFC 1071. */
function checksum(data: Buffer): number {
  let sum = 0;
  for (let i = 0; i < data.length; i += 2) sum += ((data[i] ?? 0) << 8) | (data[i + 1] ?? 0);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >> 16);
  return ~sum & 0xffff;
}

const macs = new Map<string, Buffer>();

export function mac(pod: Pick<Pod, 'netns'>): Buffer {
  const known = macs.get(pod.netns);
  if (known) return known;
  const text = run(`ip -n ${pod.netns} -o link show eth0`);
  const found = Buffer.from((/link\/ether ([0-9a-f:]+)/.exec(text)?.[1] ?? '').replaceAll(':', ''), 'hex');
  macs.set(pod.netns, found);
  return found;
}

/** A packet socket on a pod's eth0, as a process with CAP_NET_RAW in there can have it. */
export class PacketSocket implements Disposable {
  readonly #fd: number;

  constructor(pod: Pick<Pod, 'netns' | 'netnsFd'>) {
    const index = Number(run(`ip -n ${pod.netns} -o link show eth0`).split(':')[0]);
    this.#fd = inNetns(pod.netnsFd, () =>
      check(sys.socket(AF_PACKET, SOCK_RAW_CLOEXEC | SOCK_NONBLOCK, 0), 'socket', 'AF_PACKET'),
    );
    const address = Buffer.from(new ArrayBuffer(20));
    address.writeUInt16LE(AF_PACKET, 0);
    address.writeUInt16BE(ETH_P_ALL, 2);
    address.writeInt32LE(index, 4);
    check(sys.bind(this.#fd, address, address.length), 'bind', 'AF_PACKET');
  }

  send(frame: Buffer): void {
    const copy = Buffer.from(new ArrayBuffer(frame.length));
    frame.copy(copy);
    check(sys.write(this.#fd, copy, copy.length), 'write');
  }

  /** Whether a frame with these bytes has come since the last question. A veth delivers before send() returns. */
  saw(text: Buffer): boolean {
    return this.all().some((frame) => frame.includes(text));
  }

  /** All frames that have come since the last question. */
  all(): Buffer[] {
    const frames: Buffer[] = [];
    const frame = Buffer.from(new ArrayBuffer(MAX_FRAME));
    for (;;) {
      const length = sys.read(this.#fd, frame, frame.length);
      if (length < 0) {
        if (errnoName() === 'EAGAIN') return frames;
        check(length, 'read');
      }
      frames.push(Buffer.from(frame.subarray(0, length)));
    }
  }

  [Symbol.dispose](): void {
    closeFd(this.#fd);
  }
}
