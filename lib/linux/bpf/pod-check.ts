/** What must be true of a pod before anything of it is redirected. */
import { existsSync, readFileSync } from 'node:fs';
import { closeFd, sys } from '../libc.ts';
import { inNetns, netnsCookie, netnsInode, openCurrentNetns, sameNetns } from '../netns.ts';
import { BpfError } from './errors.ts';
import { ipFamily, ipToBytes, type IpFamily } from '../ip.ts';
import { buffer } from './layout.ts';

const FAMILY = { 4: 2, 6: 10 };
const SOCK_DGRAM_CLOEXEC = 0o2000002;
const SOCKADDR_BYTES = { 4: 16, 6: 28 };
const NONLOCAL_BIND = {
  4: '/proc/sys/net/ipv4/ip_nonlocal_bind',
  6: '/proc/sys/net/ipv6/ip_nonlocal_bind',
};

/**
 * Refuses a request that would redirect the wrong sockets, or to the wrong place: the namespace of this process
 * itself (a pod on the host's network), a cookie of another namespace, an address that the namespace does not have
 * (its connections would then leave the pod, unencrypted).
 *
 * @throws BpfError BPF_ARGUMENT
 */
export function checkPod(pod: {
  readonly netnsFd: number;
  readonly cookie: bigint;
  readonly ips: readonly string[];
}): void {
  const families = pod.ips.map(ipFamily);
  if (families.length === 0 || families.includes(undefined) || new Set(families).size < families.length) {
    const allowed = 'one IPv4 address, one IPv6 address, or one of each';
    throw new BpfError('BPF_ARGUMENT', `addresses ${JSON.stringify(pod.ips)} of a pod; allowed: ${allowed}`);
  }
  const here = openCurrentNetns();
  try {
    if (sameNetns(netnsInode(here), netnsInode(pod.netnsFd))) {
      throw new BpfError(
        'BPF_ARGUMENT',
        'the pod is in the network namespace of this process: it would be captured',
      );
    }
  } finally {
    closeFd(here);
  }
  const cookie = netnsCookie(pod.netnsFd);
  if (cookie !== pod.cookie) {
    throw new BpfError('BPF_ARGUMENT', `the namespace has cookie ${cookie}, not ${pod.cookie}`);
  }
  for (const ip of pod.ips) {
    if (hasAddress(pod.netnsFd, ip)) continue;
    throw new BpfError('BPF_ARGUMENT', `the network namespace with cookie ${cookie} has no address ${ip}`);
  }
}

/** By asking the kernel to bind to it. An IPv6 address that is still tentative (RFC 4862) is not there yet. */
function hasAddress(netnsFd: number, ip: string): boolean {
  const family = ipFamily(ip) ?? 4;
  return inNetns(netnsFd, () => {
    // With this switch any address could be bound, and the answer would say nothing.
    if (isSet(NONLOCAL_BIND[family])) return true;
    const fd = sys.socket(FAMILY[family], SOCK_DGRAM_CLOEXEC, 0);
    // EAFNOSUPPORT: a kernel without IPv6 has no IPv6 address either.
    if (fd < 0) return false;
    try {
      const address = socketAddress(family, ip);
      return sys.bind(fd, address, address.length) === 0;
    } finally {
      closeFd(fd);
    }
  });
}

function isSet(path: string): boolean {
  return existsSync(path) && readFileSync(path, 'utf8').trim() !== '0';
}

function socketAddress(family: IpFamily, ip: string): Uint8Array {
  const bytes = ipToBytes(ip) ?? [];
  const address = buffer(SOCKADDR_BYTES[family]);
  address.writeUInt16LE(FAMILY[family], 0);
  if (family === 4) address.set(bytes.slice(-4), 4);
  else address.set(bytes, 8);
  return address;
}
