/**
 * The source addresses that ztunnel uses towards the application of a pod. IPv4 has 127/8 for it; IPv6 has a single
 * loopback address, so each pod gets a /64 of its own that is routed to its lo (`local`) and that nothing outside of it
 * ever sees. bpf/address.h knows the same range: a packet from outside that names it is dropped.
 */
import { ipToBytes } from './ip.ts';
import { check, closeFd, errnoNameOf, isErrno, sys, SystemCallError } from './libc.ts';
import { inNetns } from './netns.ts';

/** Drawn at random once (RFC 4193 3.2), and the same in every pod, as 127/8 is. */
export const PRIVATE_SOURCES_PREFIX = 'fd5b:8c1d:9a6e:0:';
const PREFIX_BITS = 64;
const LOOPBACK_INDEX = 1; // in every network namespace

// netlink(7), rtnetlink(7)
const AF_INET6 = 10;
const AF_NETLINK = 16;
const NETLINK_ROUTE = 0;
const SOCK_RAW_CLOEXEC = 0o2000003;
const NLMSG_ERROR = 2;
const RTM_NEWROUTE = 24;
const RTM_DELROUTE = 25;
const RTM_GETROUTE = 26;
const NLM_F_REQUEST = 1;
const NLM_F_ACK = 4;
const NLM_F_REPLACE = 0x100;
const NLM_F_CREATE = 0x400;
const RTA_DST = 1;
const RTA_OIF = 4;
const RT_TABLE_LOCAL = 255;
const RTN_LOCAL = 2;
/** Who made a route, as `ip -6 route show table local` shows it (`proto 76`): only such a one is removed. */
const RTPROT_LOAM = 76;
const HEADER_BYTES = 16;
const RTMSG_BYTES = 12;
const ANSWER_BYTES = 8192;
/** rtmsg.rtm_table, .rtm_protocol and .rtm_type, from the start of the message. */
const [TABLE_AT, PROTOCOL_AT, TYPE_AT] = [HEADER_BYTES + 4, HEADER_BYTES + 5, HEADER_BYTES + 7];

/** What an IPv6-less pod answers: no such family, or IPv6 switched off on lo. */
const NO_IPV6 = ['EAFNOSUPPORT', 'EOPNOTSUPP', 'ENODEV', 'EACCES', 'ENETDOWN'] as const;

/**
 * Routes the private sources to lo in a network namespace. Doing it again changes nothing.
 *
 * @returns false when the namespace has no IPv6, so that nothing needs them
 * @throws SystemCallError
 */
export function routePrivateSources(netnsFd: number): boolean {
  try {
    request(netnsFd, RTM_NEWROUTE, NLM_F_ACK | NLM_F_CREATE | NLM_F_REPLACE, PREFIX_BITS);
    return true;
  } catch (error) {
    if (isErrno(error, ...NO_IPV6)) return false;
    throw error;
  }
}

/** Takes the route away again, if it is there. @throws SystemCallError */
export function unroutePrivateSources(netnsFd: number): void {
  try {
    request(netnsFd, RTM_DELROUTE, NLM_F_ACK, PREFIX_BITS);
  } catch (error) {
    if (!isErrno(error, 'ESRCH', ...NO_IPV6)) throw error;
  }
}

/**
 * How an address of the private sources is routed now: `ours` is as it must be; `none` where the namespace has no such
 * route or no IPv6.
 *
 * @throws SystemCallError
 */
export function privateSourcesRoute(netnsFd: number): 'ours' | 'none' | 'other' {
  try {
    const answer = request(netnsFd, RTM_GETROUTE, 0, PREFIX_BITS * 2);
    const bytes = [answer[TABLE_AT], answer[PROTOCOL_AT], answer[TYPE_AT]];
    return bytes.every((byte, i) => byte === [RT_TABLE_LOCAL, RTPROT_LOAM, RTN_LOCAL][i]) ? 'ours' : 'other';
  } catch (error) {
    if (isErrno(error, 'ENETUNREACH', 'ESRCH', 'EHOSTUNREACH', ...NO_IPV6)) return 'none';
    throw error;
  }
}

/** Sends one request about the route and reads the kernel's answer, which it has ready at once. */
function request(netnsFd: number, type: number, flags: number, bits: number): Buffer {
  const fd = inNetns(netnsFd, () =>
    check(sys.socket(AF_NETLINK, SOCK_RAW_CLOEXEC, NETLINK_ROUTE), 'socket', 'AF_NETLINK'),
  );
  try {
    const message = routeMessage(type, flags, bits);
    check(sys.write(fd, message, message.length), 'write', 'netlink');
    const answer = Buffer.from(new ArrayBuffer(ANSWER_BYTES));
    const length = check(sys.read(fd, answer, answer.length), 'read', 'netlink');
    if (length < HEADER_BYTES + 4) throw new SystemCallError('read', ['netlink', length], 'EBADMSG');
    if (answer.readUInt16LE(4) === NLMSG_ERROR) {
      const errno = -answer.readInt32LE(HEADER_BYTES);
      if (errno !== 0) throw new SystemCallError('rtnetlink', [type], errnoNameOf(errno));
    }
    return answer;
  } finally {
    closeFd(fd);
  }
}

function routeMessage(type: number, flags: number, bits: number): Uint8Array {
  const destination = Buffer.from(
    ipToBytes(`${PRIVATE_SOURCES_PREFIX}:${bits === PREFIX_BITS ? '' : '1'}`) ?? [],
  );
  const device = Buffer.alloc(4);
  device.writeUInt32LE(LOOPBACK_INDEX);
  const asked = type === RTM_GETROUTE;
  const rtmsg = Buffer.alloc(RTMSG_BYTES);
  rtmsg[0] = AF_INET6;
  rtmsg[1] = bits;
  if (!asked) {
    rtmsg[4] = RT_TABLE_LOCAL;
    rtmsg[5] = RTPROT_LOAM;
    rtmsg[7] = RTN_LOCAL;
  }
  const body = Buffer.concat([
    rtmsg,
    attribute(RTA_DST, destination),
    ...(asked ? [] : [attribute(RTA_OIF, device)]),
  ]);
  const header = Buffer.alloc(HEADER_BYTES);
  header.writeUInt32LE(HEADER_BYTES + body.length, 0);
  header.writeUInt16LE(type, 4);
  header.writeUInt16LE(NLM_F_REQUEST | flags, 6);
  const message = new Uint8Array(new ArrayBuffer(header.length + body.length));
  message.set(header, 0);
  message.set(body, header.length);
  return message;
}

function attribute(type: number, value: Buffer): Buffer {
  const head = Buffer.alloc(4);
  head.writeUInt16LE(4 + value.length, 0);
  head.writeUInt16LE(type, 2);
  return Buffer.concat([head, value]);
}
