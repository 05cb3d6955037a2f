/**
 * The source addresses that ztunnel uses towards the application of a pod. IPv4 has 127/8 for it; IPv6 has a single
 * loopback address, so each pod gets a /64 of its own that is routed to its lo (`local`) and that nothing outside of it
 * ever sees. bpf/address.h knows the same range: a packet from outside that names it is dropped.
 */
import { ipToBytes } from './ip.ts';
import { isErrno } from './libc.ts';
import { askNetlink, attribute, numberAttribute, type NetlinkMessage } from './netlink.ts';
import { inNetns } from './netns.ts';

/** Drawn at random once (RFC 4193 3.2), and the same in every pod, as 127/8 is. */
export const PRIVATE_SOURCES_PREFIX = 'fd5b:8c1d:9a6e:0:';
const PREFIX_BITS = 64;
const PREFIX = (ipToBytes(`${PRIVATE_SOURCES_PREFIX}:`) ?? []).slice(0, PREFIX_BITS / 8);
const LOOPBACK_INDEX = 1; // in every network namespace

// rtnetlink(7)
const AF_INET6 = 10;
const RTM_NEWROUTE = 24;
const RTM_DELROUTE = 25;
const RTM_GETROUTE = 26;
const NLM_F_ACK = 4;
const NLM_F_REPLACE = 0x100;
const NLM_F_CREATE = 0x400;
const RTA_DST = 1;
const RTA_OIF = 4;
const RT_TABLE_LOCAL = 255;
const RTN_LOCAL = 2;
/** Who made a route, as `ip -6 route show table local` shows it (`proto 76`): only such a one is removed. */
const RTPROT_LOAM = 76;
/** Bytes of struct rtmsg: destination's bits, table, protocol, type. */
const RTMSG = { bytes: 12, bits: 1, table: 4, protocol: 5, type: 7 };

/** What an IPv6-less pod answers: no such family, or IPv6 switched off on lo. */
const NO_IPV6 = ['EAFNOSUPPORT', 'EOPNOTSUPP', 'ENODEV', 'EACCES', 'ENETDOWN'] as const;

/** Whether an address is one of them. IPv4's are not: those are 127/8. */
export function isPrivateSource(ip: string): boolean {
  const bytes = ipToBytes(ip);
  return bytes !== undefined && PREFIX.every((byte, i) => bytes[i] === byte);
}

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
    const [answer] = request(netnsFd, RTM_GETROUTE, 0, PREFIX_BITS * 2);
    if (answer === undefined) return 'none';
    const [table, protocol, type] = [RTMSG.table, RTMSG.protocol, RTMSG.type].map((at) => answer.body[at]);
    return table === RT_TABLE_LOCAL && protocol === RTPROT_LOAM && type === RTN_LOCAL ? 'ours' : 'other';
  } catch (error) {
    if (isErrno(error, 'ENETUNREACH', 'ESRCH', 'EHOSTUNREACH', ...NO_IPV6)) return 'none';
    throw error;
  }
}

function request(netnsFd: number, type: number, flags: number, bits: number): NetlinkMessage[] {
  const whole = bits === PREFIX_BITS;
  const destination = Buffer.from(ipToBytes(`${PRIVATE_SOURCES_PREFIX}:${whole ? '' : '1'}`) ?? []);
  const rtmsg = Buffer.alloc(RTMSG.bytes);
  rtmsg[0] = AF_INET6;
  rtmsg[RTMSG.bits] = bits;
  const parts = [rtmsg, attribute(RTA_DST, destination)];
  if (whole) {
    rtmsg[RTMSG.table] = RT_TABLE_LOCAL;
    rtmsg[RTMSG.protocol] = RTPROT_LOAM;
    rtmsg[RTMSG.type] = RTN_LOCAL;
    parts.push(numberAttribute(RTA_OIF, LOOPBACK_INDEX));
  }
  return inNetns(netnsFd, () => askNetlink(type, Buffer.concat(parts), false, flags));
}
