/** Forged frames on a pod's eth0, and what the kernel drops of its own accord switched off. */
import { check, closeFd, sys } from '../../../lib/linux/libc.ts';
import { ipToBytes } from '../../../lib/linux/ip.ts';
import { inNetns } from '../../../lib/linux/netns.ts';
import { interfaceIndex, run, sysctl, type Pod } from './lab.ts';

const AF_PACKET = 17;
const SOCK_RAW_CLOEXEC = 0o2000003;
const ETHERTYPE_IPV4 = 0x0800;
const ETHERTYPE_IPV6 = 0x86dd;
const IPPROTO_TCP = 6;
const TCP_SYN = 2;

/** Lets in what a receiving host normally drops before any program of ours: sources that are its own or loopback. */
export function acceptAnySource(pod: Pod): void {
  for (const device of ['all', 'eth0']) {
    sysctl(pod, `net/ipv4/conf/${device}/rp_filter`, '0');
    sysctl(pod, `net/ipv4/conf/${device}/accept_local`, '1');
    sysctl(pod, `net/ipv4/conf/${device}/route_localnet`, '1');
  }
}

/** Sends one SYN from a pod's eth0 to another pod, with whatever source address. */
export function sendForgedSyn(
  from: Pod,
  to: Pod,
  source: { ip: string; port: number },
  destination: { ip: string; port: number },
): void {
  const v6 = destination.ip.includes(':');
  const type = v6 ? ETHERTYPE_IPV6 : ETHERTYPE_IPV4;
  const packet = v6 ? ipv6 : ipv4;
  const frame = Buffer.concat([
    ethernet(deviceOf(to).mac, deviceOf(from).mac, type),
    packet(source.ip, destination.ip, tcp(source, destination)),
  ]);
  const fd = inNetns(from.netnsFd, () =>
    check(sys.socket(AF_PACKET, SOCK_RAW_CLOEXEC, 0), 'socket', 'AF_PACKET'),
  );
  try {
    const address = Buffer.from(new ArrayBuffer(20));
    address.writeUInt16LE(AF_PACKET, 0);
    address.writeUInt16BE(type, 2);
    address.writeInt32LE(deviceOf(from).index, 4);
    check(sys.bind(fd, address, address.length), 'bind', 'AF_PACKET');
    const copy = Buffer.from(new ArrayBuffer(frame.length));
    frame.copy(copy);
    check(sys.write(fd, copy, copy.length), 'write');
  } finally {
    closeFd(fd);
  }
}

const devices = new WeakMap<Pod, { readonly index: number; readonly mac: Buffer }>();

/** A pod's eth0, which stays the same. */
function deviceOf(pod: Pod): { readonly index: number; readonly mac: Buffer } {
  const known = devices.get(pod);
  if (known !== undefined) return known;
  const text = run(`ip -n ${pod.netns} -o link show eth0`);
  const hex = (/link\/ether ([0-9a-f:]+)/.exec(text)?.[1] ?? '').replaceAll(':', '');
  const device = { index: interfaceIndex(pod), mac: Buffer.from(hex, 'hex') };
  devices.set(pod, device);
  return device;
}

function ethernet(to: Buffer, from: Buffer, type: number): Buffer {
  return Buffer.concat([to, from, Buffer.from([type >> 8, type & 0xff])]);
}

function ipv6(source: string, destination: string, payload: Buffer): Buffer {
  const header = Buffer.alloc(40);
  header[0] = 0x60;
  header.writeUInt16BE(payload.length, 4);
  header[6] = IPPROTO_TCP;
  header[7] = 64;
  header.set(ipToBytes(source) ?? [], 8);
  header.set(ipToBytes(destination) ?? [], 24);
  return Buffer.concat([header, payload]);
}

function ipv4(source: string, destination: string, payload: Buffer): Buffer {
  const header = Buffer.alloc(20);
  header[0] = 0x45;
  header.writeUInt16BE(20 + payload.length, 2);
  header[8] = 64;
  header[9] = IPPROTO_TCP;
  header.set(source.split('.').map(Number), 12);
  header.set(destination.split('.').map(Number), 16);
  header.writeUInt16BE(checksum(header), 10);
  return Buffer.concat([header, payload]);
}

function tcp(source: { ip: string; port: number }, destination: { ip: string; port: number }): Buffer {
  const header = Buffer.alloc(20);
  header.writeUInt16BE(source.port, 0);
  header.writeUInt16BE(destination.port, 2);
  header.writeUInt32BE(0x12345678, 4);
  header[12] = 5 << 4;
  header[13] = TCP_SYN;
  header.writeUInt16BE(65535, 14);
  // RFC 9293 3.1: the addresses at their full length; all else of the pseudo-header is the sum of two numbers.
  const length = destination.ip.includes(':') ? 16 : 4;
  const ends = [source.ip, destination.ip].map((ip) => Buffer.from((ipToBytes(ip) ?? []).slice(-length)));
  const pseudo = Buffer.concat([...ends, Buffer.from([0, IPPROTO_TCP, 0, header.length])]);
  header.writeUInt16BE(checksum(Buffer.concat([pseudo, header])), 16);
  return header;
}

/** RFC 1071. */
function checksum(bytes: Buffer): number {
  let sum = 0;
  for (let i = 0; i < bytes.length; i += 2) sum += bytes.readUInt16BE(i);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >> 16);
  return ~sum & 0xffff;
}
