/**
 * The little of rtnetlink(7) and sock_diag(7) that Loam asks: dumps and single answers, synchronously, on a socket of the moment. Only
 * lib/linux uses it. Byte order is the machine's, which is little endian throughout.
 */
import { check, closeFd, errnoName, sys, SystemCallError } from './libc.ts';

const AF_NETLINK = 16;
const SOCK_RAW_CLOEXEC = 0o2000003;
const NETLINK_ROUTE = 0;
/** sock_diag(7). */
export const NETLINK_SOCK_DIAG = 4;
const SOL_SOCKET = 1;
const SO_RCVTIMEO = 20;
const HEADER_BYTES = 16;
const NLMSG_ERROR = 2;
const NLMSG_DONE = 3;
const NLM_F_REQUEST = 1;
const NLM_F_DUMP = 0x300;
/** Larger than any message of a dump that the kernel makes for a reader of this size. */
const RECEIVE_BYTES = 64 * 1024;
/** The kernel answers at once; this only keeps a defect from blocking the process for ever. */
const TIMEOUT_S = 2;

/** One message of an answer: its type, and what follows the netlink header. */
export interface NetlinkMessage {
  readonly type: number;
  readonly body: Buffer;
}

/**
 * Asks the kernel in this thread's network namespace.
 *
 * @param dump all objects of a kind, in place of one
 * @param flags more of them, for a request that changes something: with NLM_F_ACK the answer is empty
 * @param limit a dump ends after so many messages
 * @param protocol of netlink; routes, addresses and interfaces by default
 * @throws SystemCallError with the kernel's errno, `netlink` as the call
 */
export function askNetlink(
  type: number,
  body: Buffer,
  dump: boolean,
  flags = 0,
  limit = Infinity,
  protocol = NETLINK_ROUTE,
): NetlinkMessage[] {
  const fd = check(sys.socket(AF_NETLINK, SOCK_RAW_CLOEXEC, protocol), 'socket', 'AF_NETLINK');
  try {
    const time = owned(16);
    time.writeBigInt64LE(BigInt(TIMEOUT_S), 0);
    check(sys.setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, time, time.length), 'setsockopt', 'SO_RCVTIMEO');
    const request = owned(HEADER_BYTES + body.length);
    request.writeUInt32LE(request.length, 0);
    request.writeUInt16LE(type, 4);
    request.writeUInt16LE(NLM_F_REQUEST | flags | (dump ? NLM_F_DUMP : 0), 6);
    body.copy(request, HEADER_BYTES);
    check(sys.write(fd, request, request.length), 'write', 'netlink');
    return receive(fd, type, dump, limit);
  } finally {
    closeFd(fd);
  }
}

function receive(fd: number, type: number, dump: boolean, limit: number): NetlinkMessage[] {
  const messages: NetlinkMessage[] = [];
  const chunk = owned(RECEIVE_BYTES);
  for (;;) {
    const length = sys.read(fd, chunk, chunk.length);
    if (length < 0 && errnoName() === 'EINTR') continue;
    check(length, 'read', 'netlink');
    for (const message of split(chunk.subarray(0, length))) {
      if (message.type === NLMSG_DONE) return messages;
      if (message.type === NLMSG_ERROR) {
        const errno = -message.body.readInt32LE(0);
        if (errno !== 0) throw SystemCallError.of('netlink', [type], errno);
        return messages;
      }
      messages.push({ type: message.type, body: Buffer.from(message.body) });
      if (!dump || messages.length >= limit) return messages;
    }
  }
}

function split(bytes: Buffer): NetlinkMessage[] {
  const messages: NetlinkMessage[] = [];
  for (let at = 0; at + HEADER_BYTES <= bytes.length;) {
    const length = bytes.readUInt32LE(at);
    if (length < HEADER_BYTES || at + length > bytes.length) break;
    messages.push({ type: bytes.readUInt16LE(at + 4), body: bytes.subarray(at + HEADER_BYTES, at + length) });
    at += aligned(length);
  }
  return messages;
}

/** The attributes of a message by number (struct rtattr). @param from where they begin in the body */
export function attributes(body: Buffer, from: number): Map<number, Buffer> {
  const found = new Map<number, Buffer>();
  for (let at = from; at + 4 <= body.length;) {
    const length = body.readUInt16LE(at);
    if (length < 4 || at + length > body.length) break;
    // The two highest bits are flags.
    found.set(body.readUInt16LE(at + 2) & 0x3fff, body.subarray(at + 4, at + length));
    at += aligned(length);
  }
  return found;
}

/** An attribute that holds a 32-bit number. */
export function numberAttribute(type: number, value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeInt32LE(value);
  return attribute(type, bytes);
}

/** An attribute; its value must fill whole words. */
export function attribute(type: number, value: Buffer): Buffer {
  const head = Buffer.alloc(4);
  head.writeUInt16LE(4 + value.length, 0);
  head.writeUInt16LE(type, 2);
  return Buffer.concat([head, value]);
}

function aligned(length: number): number {
  return (length + 3) & ~3;
}

function owned(bytes: number): Buffer<ArrayBuffer> {
  return Buffer.from(new ArrayBuffer(bytes));
}
