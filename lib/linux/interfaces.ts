/** The interfaces of a network namespace, and which of them are the near end of a veth whose other end is elsewhere. */
import { IP_BYTES, ipFromBytes } from './ip.ts';
import { inNetns } from './netns.ts';
import { isErrno } from './libc.ts';
import { askNetlink, attributes, numberAttribute } from './netlink.ts';

const RTM_GETLINK = 18;
const RTM_GETADDR = 22;
const RTM_GETTFILTER = 46;
const RTM_GETNSID = 90;
const IFINFO_BYTES = 16;
const IFADDRMSG_BYTES = 8;
const IFA_ADDRESS = 1;
const IFA_LOCAL = 2;
const IFLA_IFNAME = 3;
const IFLA_LINK = 5;
const IFLA_LINKINFO = 18;
const IFLA_LINK_NETNSID = 37;
const IFLA_INFO_KIND = 1;
const NETNSA_NSID = 1;
const NETNSA_FD = 3;
const RTGENMSG_BYTES = 4;
const TCMSG_BYTES = 20;
const UNKNOWN = -1;

/** An interface as the kernel describes it. */
export interface Interface {
  readonly index: number;
  readonly name: string;
  /** `veth`, `bridge` and so on; empty for loopback and hardware. */
  readonly kind: string;
  /** Index of what it is tied to (a veth's other end), in the namespace `peerNetnsId` or in the same one. */
  readonly peer: number | undefined;
  /** Number, as its own namespace counts others, of the namespace that `peer` is in; undefined: the same. */
  readonly peerNetnsId: number | undefined;
}

/** All interfaces of a network namespace. @throws SystemCallError */
export function interfacesOf(netnsFd: number): Interface[] {
  return inNetns(netnsFd, () =>
    askNetlink(RTM_GETLINK, Buffer.alloc(IFINFO_BYTES), true).map(({ body }) => {
      const found = attributes(body, IFINFO_BYTES);
      const info = found.get(IFLA_LINKINFO);
      const kind = info && attributes(info, 0).get(IFLA_INFO_KIND);
      return {
        index: body.readInt32LE(4),
        name: text(found.get(IFLA_IFNAME)),
        kind: text(kind),
        peer: found.get(IFLA_LINK)?.readInt32LE(0),
        peerNetnsId: found.get(IFLA_LINK_NETNSID)?.readInt32LE(0),
      };
    }),
  );
}

/** The addresses of a network namespace, each with the index of the interface that has it. @throws SystemCallError */
export function addressesOf(netnsFd: number): { readonly ip: string; readonly index: number }[] {
  return inNetns(netnsFd, () =>
    askNetlink(RTM_GETADDR, Buffer.alloc(IFADDRMSG_BYTES), true).flatMap(({ body }) => {
      const found = attributes(body, IFADDRMSG_BYTES);
      // Of a point-to-point interface, the address is the other end's.
      const address = found.get(IFA_LOCAL) ?? found.get(IFA_ADDRESS);
      if (address === undefined) return [];
      const ip = address.length === IP_BYTES ? ipFromBytes(address) : address.join('.');
      return [{ ip, index: body.readUInt32LE(4) }];
    }),
  );
}

/** The number by which one namespace knows another; undefined when it does not know it, so has no interface tied to it. */
export function netnsIdOf(netnsFd: number, otherFd: number): number | undefined {
  return inNetns(netnsFd, () => {
    const request = Buffer.concat([Buffer.alloc(RTGENMSG_BYTES), numberAttribute(NETNSA_FD, otherFd)]);
    const [answer] = askNetlink(RTM_GETNSID, request, false);
    const id = answer && attributes(answer.body, RTGENMSG_BYTES).get(NETNSA_NSID)?.readInt32LE(0);
    return id === UNKNOWN ? undefined : id;
  });
}

/**
 * How many filters there are at a parent of an interface's clsact qdisc, in this thread's namespace.
 *
 * @param parent TC_H_CLSACT with the minor number of ingress or egress
 */
export function countFilters(index: number, parent: number): number {
  const request = Buffer.alloc(TCMSG_BYTES);
  request.writeInt32LE(index, 4);
  request.writeUInt32LE(parent, 12);
  try {
    return askNetlink(RTM_GETTFILTER, request, true).length;
  } catch (error) {
    // No such interface, or no such qdisc.
    if (isErrno(error, 'ENODEV', 'EINVAL', 'ENOENT')) return 0;
    throw error;
  }
}

function text(bytes: Buffer | undefined): string {
  return bytes === undefined ? '' : bytes.toString('latin1').replace(/\0.*$/s, '');
}
