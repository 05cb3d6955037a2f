/** What must be true of a pod before anything of it is redirected. */
import { readFileSync } from 'node:fs';
import { closeFd, check, sys } from '../libc.ts';
import { inNetns, netnsCookie, netnsInode, openCurrentNetns, sameNetns } from '../netns.ts';
import { BpfError } from './errors.ts';
import { buffer, ipv4Bytes } from './layout.ts';

const AF_INET = 2;
const SOCK_DGRAM_CLOEXEC = 0o2000002;
const SOCKADDR_IN_BYTES = 16;

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
  readonly ip: string;
}): void {
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
  if (!hasAddress(pod.netnsFd, pod.ip)) {
    throw new BpfError(
      'BPF_ARGUMENT',
      `the network namespace with cookie ${cookie} has no address ${pod.ip}`,
    );
  }
}

/** By asking the kernel to bind to it. */
function hasAddress(netnsFd: number, ip: string): boolean {
  return inNetns(netnsFd, () => {
    // With this switch any address could be bound, and the answer would say nothing.
    if (readFileSync('/proc/sys/net/ipv4/ip_nonlocal_bind', 'utf8').trim() !== '0') return true;
    const fd = check(sys.socket(AF_INET, SOCK_DGRAM_CLOEXEC, 0), 'socket', 'AF_INET', 'SOCK_DGRAM');
    try {
      const address = buffer(SOCKADDR_IN_BYTES);
      address.writeUInt16LE(AF_INET, 0);
      address.set(ipv4Bytes(ip), 4);
      return sys.bind(fd, address, address.length) === 0;
    } finally {
      closeFd(fd);
    }
  });
}
