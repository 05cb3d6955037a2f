import { BlockList, isIP } from 'node:net';

type Range = readonly [address: string, prefix: number];

/**
 * Addresses that mean something else to whoever dials them than to whoever named them, or where a cloud tells a machine's own
 * credentials: RFC 6890, RFC 4291, and the documentation of the clouds.
 */
const KINDS: Readonly<Record<string, readonly Range[]>> = {
  'a loopback address': [
    ['127.0.0.0', 8],
    ['::1', 128],
  ],
  // Linux dials loopback for these.
  'an unspecified address': [
    ['0.0.0.0', 8],
    ['::', 128],
  ],
  'a link-local address': [
    ['169.254.0.0', 16],
    ['fe80::', 10],
  ],
  'the address of a metadata service': [
    ['fd00:ec2::254', 128],
    ['fd20:ce::254', 128],
    ['100.100.100.200', 32],
    ['168.63.129.16', 32],
    ['192.0.0.192', 32],
  ],
  'a multicast or broadcast address': [
    ['224.0.0.0', 4],
    ['255.255.255.255', 32],
    ['ff00::', 8],
  ],
};

/** Prefixes behind which an IPv4 address stands in an IPv6 one: mapped is known to BlockList; NAT64 (RFC 6052). */
const NAT64 = '64:ff9b::';
const NAT64_PREFIX = 96;

const LISTS = Object.entries(KINDS).map(([what, ranges]) => {
  const list = new BlockList();
  for (const [address, prefix] of ranges) {
    const isV4 = isIP(address) === 4;
    list.addSubnet(address, prefix, isV4 ? 'ipv4' : 'ipv6');
    if (isV4) list.addSubnet(NAT64 + address, NAT64_PREFIX + prefix, 'ipv6');
  }
  return { what, list };
});

/**
 * What is special about an address that nobody may have dialled for them: loopback, link-local, a cloud's metadata service, unspecified,
 * multicast. Private addresses are ordinary ones: the mesh has no others.
 *
 * @param ip in any of its spellings, IPv4-mapped ones too
 * @returns undefined for an ordinary address
 */
export function specialAddress(ip: string): string | undefined {
  const family = isIP(ip);
  if (family === 0) return 'no IP address';
  return LISTS.find(({ list }) => list.check(ip, family === 4 ? 'ipv4' : 'ipv6'))?.what;
}
