import { BlockList, isIPv4 } from 'node:net';
import { promises as dns } from 'node:dns';

/** What DNS says of a name. */
export interface Answer {
  /** Of both families, sorted, none twice; empty: there are none. */
  readonly addresses: readonly string[];
  /** For how long that holds, by the smallest of the records. */
  readonly ttlMs: number;
}

/** @throws Error when nobody answers, or not in a way that tells whether there are addresses */
export type LookUp = (name: string) => Promise<Answer>;

const TIMEOUT_MS = 2_000;
const TRIES = 2;
/** What says that there is none, as opposed to that nobody knows. */
const NONE = new Set(['ENODATA', 'ENOTFOUND']);
/** Of one name; more is nothing that is served. */
const MAX_ADDRESSES = 64;
const EMPTY_TTL_MS = 30_000;

/**
 * Addresses that no name of the world may lead to: this machine, its link (where clouds keep their credentials), nobody, everybody.
 * Whoever answers for a name decides where a node dials.
 */
const NOT_DIALLED = new BlockList();
for (const [net, prefix] of [
  ['0.0.0.0', 8],
  ['127.0.0.0', 8],
  ['169.254.0.0', 16],
  // Where clouds keep them besides: Alibaba, Azure.
  ['100.100.100.200', 32],
  ['168.63.129.16', 32],
  ['224.0.0.0', 3],
] as const)
  NOT_DIALLED.addSubnet(net, prefix, 'ipv4');
for (const [net, prefix] of [
  ['::', 96],
  ['fe80::', 10],
  ['ff00::', 8],
  // AWS, Google.
  ['fd00:ec2::254', 128],
  ['fd20:ce::254', 128],
] as const)
  NOT_DIALLED.addSubnet(net, prefix, 'ipv6');

/** Whether a name may lead to an address. An IPv4 address inside an IPv6 one is judged as what it is. */
export function isDialled(address: string): boolean {
  return !NOT_DIALLED.check(address, isIPv4(address) ? 'ipv4' : 'ipv6');
}

/**
 * Asks DNS for whole names, without search domains and without the machine's file of hosts.
 *
 * @param servers in place of those of /etc/resolv.conf
 */
export function dnsLookUp(servers?: readonly string[]): LookUp {
  const resolver = new dns.Resolver({ timeout: TIMEOUT_MS, tries: TRIES });
  if (servers !== undefined && servers.length > 0) resolver.setServers(servers);
  return async (name) => {
    const [v4, v6] = await Promise.allSettled([
      resolver.resolve4(name, { ttl: true }),
      resolver.resolve6(name, { ttl: true }),
    ]);
    const records = [v4, v6].flatMap((each) => (each.status === 'fulfilled' ? each.value : []));
    const failed = [v4, v6].find(
      (each) => each.status === 'rejected' && !NONE.has((each.reason as { code?: string }).code ?? ''),
    );
    // One family is enough; with none, a failure is no answer.
    if (records.length === 0 && failed?.status === 'rejected') throw failed.reason;
    const addresses = [...new Set(records.map(({ address }) => address))].filter(isDialled).sort();
    const ttls = records.map(({ ttl }) => ttl * 1_000);
    return {
      addresses: addresses.slice(0, MAX_ADDRESSES),
      ttlMs: ttls.length === 0 ? EMPTY_TTL_MS : Math.min(...ttls),
    };
  };
}
