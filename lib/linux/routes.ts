/** The IPv6 routes of a network namespace, as far as what connect() says follows from the destination alone. */
import { IP_BYTES } from './ip.ts';
import { askNetlink, attributes, type NetlinkMessage } from './netlink.ts';
import { inNetns } from './netns.ts';

// rtnetlink(7), linux/fib_rules.h
const AF_INET6 = 10;
const RTM_GETROUTE = 26;
const RTM_GETRULE = 34;
const RTA_DST = 1;
const RTA_PRIORITY = 6;
const RTM_F_CLONED = 0x200;
const RTNH_F_DEAD = 1;
/** Bytes of struct rtmsg and where its fields are. */
const RTMSG = { bytes: 12, bits: 1, sourceBits: 2, table: 4, type: 7, flags: 8 };
/** The like of struct fib_rule_hdr. */
const RULE = { bytes: 12, bits: 1, sourceBits: 2, tos: 3, table: 4, action: 7 };
const TO_TABLE = 1;
const MAIN = 254;
const LOCAL = 255;
/** Table, priority, protocol, and the suppressions, which are -1 for none: a rule that has these alone is for everybody. */
const FRA = { suppressGroup: 13, suppressPrefix: 14, allowed: [6, 13, 14, 15, 21] };
const NONE = 0xffffffff;
const MULTICAST = 5;

/** What connect() says of a destination behind a route of these types (net/ipv6/route.c, ip6_rt_type_to_error). */
const ERRNO_OF_TYPE: Readonly<Record<number, number>> = {
  6: 22, // blackhole: EINVAL
  7: 113, // unreachable: EHOSTUNREACH
  8: 13, // prohibit: EACCES
  9: 101, // throw: ENETUNREACH, there being no further table
};
/** What connect() says where no route is found. */
export const ENETUNREACH = 101;

/** More than a pod needs. The dump ends there, so that a pod with very many cannot keep its node busy. */
const MAX_ROUTES = 64;
const MAX_RULES = 8;

/** A prefix that is routed, or where an error is to be had. */
export interface Ipv6Route {
  readonly prefix: Buffer;
  readonly bits: number;
  /** 0: it leads somewhere. */
  readonly errno: number;
}

/**
 * Reads the routes.
 *
 * @returns undefined where the destination alone does not decide (policy routing, VRF), or with more than 64 routes
 * @throws SystemCallError
 */
export function ipv6Routes(netnsFd: number): Ipv6Route[] | undefined {
  return inNetns(netnsFd, () => {
    const rules = dump(RTM_GETRULE, RULE.bytes, MAX_RULES);
    if (rules === undefined || !rules.every(isForEverybody)) return undefined;
    const messages = dump(RTM_GETROUTE, RTMSG.bytes, MAX_ROUTES);
    return messages && best(messages);
  });
}

function dump(type: number, bytes: number, limit: number): NetlinkMessage[] | undefined {
  const request = Buffer.alloc(bytes);
  request[0] = AF_INET6;
  const messages = askNetlink(type, request, true, 0, limit + 1);
  return messages.length > limit ? undefined : messages;
}

function isForEverybody({ body }: NetlinkMessage): boolean {
  const narrowed = [RULE.bits, RULE.sourceBits, RULE.tos].some((at) => body[at] !== 0);
  const table = body[RULE.table];
  if (narrowed || body[RULE.action] !== TO_TABLE || (table !== MAIN && table !== LOCAL)) return false;
  return [...attributes(body, RULE.bytes)].every(([type, value]) => {
    const suppression = type === FRA.suppressGroup || type === FRA.suppressPrefix;
    return FRA.allowed.includes(type) && (!suppression || value.readUInt32LE(0) === NONE);
  });
}

/** Of each prefix the route with the lowest metric, as the kernel chooses. */
function best(messages: readonly NetlinkMessage[]): Ipv6Route[] {
  const chosen = new Map<string, Ipv6Route & { readonly metric: number }>();
  for (const { body } of messages) {
    const [table, type = 0, bits = 0] = [body[RTMSG.table], body[RTMSG.type], body[RTMSG.bits]];
    const dead = (body.readUInt32LE(RTMSG.flags) & (RTM_F_CLONED | RTNH_F_DEAD)) !== 0;
    if ((table !== MAIN && table !== LOCAL) || type === MULTICAST || dead) continue;
    const found = attributes(body, RTMSG.bytes);
    const prefix = Buffer.alloc(IP_BYTES);
    found.get(RTA_DST)?.copy(prefix);
    const metric = found.get(RTA_PRIORITY)?.readUInt32LE(0) ?? 0;
    // One for some sources only: who knows which the socket has.
    const errno = body[RTMSG.sourceBits] === 0 ? (ERRNO_OF_TYPE[type] ?? 0) : 0;
    const key = `${bits} ${prefix.toString('hex')}`;
    const before = chosen.get(key);
    if (before === undefined || metric < before.metric || (metric === before.metric && errno === 0))
      chosen.set(key, { prefix, bits, errno, metric });
  }
  return [...chosen.values()].map(({ prefix, bits, errno }) => ({ prefix, bits, errno }));
}
