import assert from 'node:assert/strict';
import { after, before, describe, it } from 'mocha';
import type { GuardReason } from '../../lib/linux/bpf/index.ts';
import * as F from './support/frames.ts';
import { KERNEL_METHODS } from './support/guard-methods.ts';
import { Lab, type Pod } from './support/lab.ts';
import { soon } from './support/soon.ts';
import { newInstanceName, TinyMesh, type MeshPod } from './support/tiny-mesh.ts';

const {
  tcp: TCP,
  udp: UDP,
  destination: DSTOPTS,
  hopByHop: HBH,
  fragment: FRAGMENT,
  routing: ROUTING,
} = F.PROTOCOL;
const LINK_LOCAL = 'fe80::1234';
const STRANGER = { ip: '198.18.80.77', ip6: 'fd00:80::77' };

/** Frames from a pod to another that carry a mark, by which they are found again. */
type Build = (from: Pod, to: Pod, mark: Buffer) => Buffer;

const from4 = (pod: Pod, ip = pod.ip): F.End => ({ ip, port: 40000 });
const to4 = (pod: Pod): F.End => ({ ip: pod.ip, port: 9100 });
const from6 = (pod: Pod, ip = pod.ip6): F.End => ({ ip, port: 40000 });
const to6 = (pod: Pod): F.End => ({ ip: pod.ip6, port: 9100 });

/** A TCP segment in an IPv4 packet. */
function tcp4(flags: number, fields: Partial<F.Ipv4Fields> = {}): Build {
  return (from, to, mark) => {
    const source = fields.source ?? from.ip;
    const segment = F.tcp(from4(from, source), to4(to), flags, mark);
    const ip = F.ipv4({ source, destination: to.ip, protocol: TCP, ...fields }, segment);
    return F.ethernet(to, from, F.IP4, ip);
  };
}

/** Any payload in an IPv4 packet. */
function ip4(protocol: number, payload: (mark: Buffer) => Buffer, fields: Partial<F.Ipv4Fields> = {}): Build {
  return (from, to, mark) =>
    F.ethernet(
      to,
      from,
      F.IP4,
      F.ipv4({ source: from.ip, destination: to.ip, protocol, ...fields }, payload(mark)),
    );
}

/** A TCP segment in an IPv6 packet, behind whatever headers, outermost first; each is told what comes next. */
function tcp6(flags: number, headers: readonly Header[] = [], source?: string): Build {
  return chain6(TCP, (from, to, mark) => F.tcp(from6(from, source), to6(to), flags, mark), headers, source);
}

interface Header {
  readonly type: number;
  readonly bytes: (next: number) => Buffer;
}
const hopByHop: Header = { type: HBH, bytes: F.optionsHeader };
const destination: Header = { type: DSTOPTS, bytes: F.optionsHeader };
const fragment = (offset: number, more: boolean): Header => ({
  type: FRAGMENT,
  bytes: (next) => F.fragmentHeader(next, offset, more),
});
const routing = (type: number): Header => ({
  type: ROUTING,
  bytes: (next) => F.routingHeader(next, type, 'fd00:80::1'),
});

function chain6(protocol: number, payload: Build, headers: readonly Header[] = [], source?: string): Build {
  return (from, to, mark) => {
    const types = [...headers.map(({ type }) => type), protocol];
    const body = Buffer.concat([
      ...headers.map(({ bytes }, i) => bytes(types[i + 1] ?? protocol)),
      payload(from, to, mark),
    ]);
    const next = types[0] ?? protocol;
    return F.ethernet(
      to,
      from,
      F.IP6,
      F.ipv6({ source: source ?? from.ip6, destination: to.ip6, next, hops: 255 }, body),
    );
  };
}

/** Neighbour discovery about an address. */
function discovery(
  type: number,
  target: (from: Pod) => string,
  source?: string,
  headers?: readonly Header[],
): Build {
  const message: Build = (from, to, mark) =>
    F.icmpv6(
      source ?? from.ip6,
      to.ip6,
      type,
      Buffer.concat([Buffer.alloc(4), F.ipBytes(target(from)), Buffer.from([0xf0, 1]), mark]),
    );
  return chain6(F.PROTOCOL.icmpv6, message, headers, source);
}

const udp4: Build = (from, to, mark) => ip4(UDP, (text) => F.udp(from4(from), to4(to), text))(from, to, mark);
const udp6 = (headers: readonly Header[] = [], source?: string): Build =>
  chain6(UDP, (from, to, mark) => F.udp(from6(from, source), to6(to), mark), headers, source);
const arp =
  (operation: number, sender: (from: Pod) => string): Build =>
  (from, to, mark) =>
    F.ethernet(to, from, F.ARP, Buffer.concat([F.arp(operation, from, sender(from), to.ip), mark]));
const raw =
  (type: number, payload: (from: Pod, to: Pod, mark: Buffer) => Buffer): Build =>
  (from, to, mark) =>
    F.ethernet(to, from, type, payload(from, to, mark));
/** An Ethernet frame's type and payload, behind a tag. */
const tagged = (type: number, build: Build): Build =>
  raw(type, (from, to, mark) => Buffer.concat([Buffer.from([0, 5]), build(from, to, mark).subarray(12)]));

const LSRR = Buffer.from([1, 131, 7, 4, 198, 18, 80, 9]);
const ROUTER_ALERT = Buffer.from([148, 4, 0, 0]);

const DROPPED: readonly [string, GuardReason, Build][] = [
  ['UDP with a foreign source', 'source', ip4(UDP, (mark) => mark, { source: STRANGER.ip })],
  ['ICMP with a foreign source', 'source', ip4(F.PROTOCOL.icmp, F.icmpEcho, { source: STRANGER.ip })],
  ['a SYN with a foreign source', 'source', tcp4(F.SYN, { source: STRANGER.ip })],
  ['an ACK with a foreign source', 'source', tcp4(F.ACK, { source: STRANGER.ip })],
  ['a source of loopback', 'source', tcp4(F.ACK, { source: '127.0.0.1' })],
  ['no source', 'source', ip4(UDP, (mark) => mark, { source: '0.0.0.0' })],
  ['a SYN of a raw socket, with data', 'syn', tcp4(F.SYN)],
  ['a SYN with FIN', 'syn', tcp4(F.SYN | F.FIN)],
  ['a SYN with PSH and URG', 'syn', tcp4(F.SYN | F.PSH | F.URG)],
  ['a SYN with RST', 'syn', tcp4(F.SYN | F.RST)],
  ['a SYN for congestion notification', 'syn', tcp4(F.SYN | 0xc0)],
  ['the first fragment of a SYN', 'fragment', tcp4(F.SYN, { fragment: { offset: 0, more: true } })],
  ['a later fragment of TCP', 'fragment', tcp4(F.ACK, { fragment: { offset: 3, more: false } })],
  [
    'a fragment of eight bytes, flags in the next',
    'fragment',
    ip4(TCP, (mark) => mark.subarray(0, 8), { fragment: { offset: 0, more: true } }),
  ],
  ['a SYN behind a source route', 'options', tcp4(F.SYN, { options: LSRR })],
  ['an ACK behind a source route', 'options', tcp4(F.ACK, { options: LSRR })],
  ['a SYN behind empty options', 'options', tcp4(F.SYN, { options: Buffer.from([1, 1, 1, 0]) })],
  ['a VLAN tag', 'vlan', tagged(0x8100, tcp4(F.SYN))],
  ['two VLAN tags', 'vlan', tagged(0x88a8, tagged(0x8100, tcp4(F.SYN)))],
  ['a VLAN tag before UDP', 'vlan', tagged(0x8100, udp4)],
  ['MPLS', 'ethertype', raw(0x8847, (_from, _to, mark) => mark)],
  ['a frame of 802.3', 'ethertype', raw(0x0026, (_from, _to, mark) => mark)],
  ...([4, 41, 47, 50, 51, 94, 137, 255] as const).map((protocol): [string, GuardReason, Build] => [
    `IPv4 protocol ${protocol}`,
    'protocol',
    ip4(protocol, (mark) => mark),
  ]),
  ['an IPv4 header that ends early', 'malformed', raw(F.IP4, (_from, _to, mark) => mark)],
  [
    'IPv6 that says it is IPv4',
    'malformed',
    raw(F.IP4, (from, to, mark) => udp6()(from, to, mark).subarray(14)),
  ],
  [
    'IPv4 that says it is IPv6',
    'malformed',
    raw(F.IP6, (from, to, mark) => udp4(from, to, mark).subarray(14)),
  ],
  ['TCP of ten bytes', 'malformed', ip4(TCP, (mark) => mark.subarray(0, 10))],
  ['IPv6 UDP with a foreign source', 'source', udp6([], STRANGER.ip6)],
  ['an IPv6 source that is the mapped IPv4 address', 'source', udp6([], '::ffff:198.18.80.1')],
  ['a SYN from a link-local address', 'source', tcp6(F.SYN, [], LINK_LOCAL)],
  ['UDP from a link-local address', 'source', udp6([], LINK_LOCAL)],
  ['UDP from no address', 'source', udp6([], '::')],
  ['a later fragment from a link-local address', 'source', udp6([fragment(3, false)], LINK_LOCAL)],
  ['a SYN over IPv6', 'syn', tcp6(F.SYN)],
  ['a SYN behind hop-by-hop options', 'syn', tcp6(F.SYN, [hopByHop])],
  ['a SYN behind destination options', 'syn', tcp6(F.SYN, [destination])],
  ['a SYN behind seven headers', 'syn', tcp6(F.SYN, [hopByHop, ...Array<Header>(6).fill(destination)])],
  ['a SYN behind nine headers', 'extension', tcp6(F.SYN, Array<Header>(9).fill(destination))],
  ['a SYN behind a segment routing header', 'extension', tcp6(F.SYN, [routing(4)])],
  ['an ACK behind a routing header of type 0', 'extension', tcp6(F.ACK, [destination, routing(0)])],
  ['UDP behind a routing header', 'extension', udp6([routing(2)])],
  ['a SYN that is a fragment of itself', 'fragment', tcp6(F.SYN, [fragment(0, false)])],
  ['the first fragment of a SYN over IPv6', 'fragment', tcp6(F.SYN, [fragment(0, true)])],
  ['a later fragment of TCP over IPv6', 'fragment', tcp6(F.ACK, [fragment(3, false)])],
  ['a later fragment of headers', 'fragment', udp6([fragment(3, false), destination])],
  ['a SYN behind options in a fragment', 'fragment', tcp6(F.SYN, [fragment(0, true), destination])],
  ...([4, 41, 47, 50, 51, 135, 139, 59] as const).map((protocol): [string, GuardReason, Build] => [
    `IPv6 header ${protocol}`,
    'protocol',
    chain6(protocol, (_from, _to, mark) => mark),
  ]),
  ['a router advertisement', 'neighbour', discovery(134, () => LINK_LOCAL, LINK_LOCAL)],
  ['a redirect', 'neighbour', discovery(137, () => STRANGER.ip6)],
  ["an advertisement of another's address", 'neighbour', discovery(136, () => STRANGER.ip6)],
  [
    "an advertisement of another's address from the link's own",
    'neighbour',
    discovery(136, () => STRANGER.ip6, LINK_LOCAL),
  ],
  [
    'an advertisement in fragments',
    'neighbour',
    discovery(136, (from) => from.ip6, undefined, [fragment(0, true)]),
  ],
  ["ARP in another's name", 'neighbour', arp(2, () => STRANGER.ip)],
  [
    'IPv6 options beyond the end',
    'malformed',
    chain6(DSTOPTS, (_from, _to, mark) => Buffer.concat([Buffer.from([TCP, 200, 1, 12, 0, 0]), mark])),
  ],
  // What a receiver cuts off, and the guard must not take for headers.
  ['IPv6 options behind the payload', 'malformed', cut6(udp6([destination]), 0)],
  ['IPv6 options half behind the payload', 'malformed', cut6(udp6([destination]), 4)],
  ['a second header behind the payload', 'malformed', cut6(udp6([destination, destination]), 8)],
  ['a fragment header behind the payload', 'malformed', cut6(udp6([fragment(3, false)]), 7)],
  ['a TCP header behind the payload', 'malformed', cut6(tcp6(F.ACK, [destination]), 8)],
  ['a TCP header half behind the payload', 'malformed', cut6(tcp6(F.ACK), 19)],
  [
    'ICMPv6 behind the payload',
    'malformed',
    cut6(
      discovery(135, (from) => from.ip6),
      3,
    ),
  ],
];

/** An IPv6 packet that says that it ends earlier; what is beyond travels as the frame's padding. */
function cut6(build: Build, length: number): Build {
  return (from, to, mark) => {
    const frame = build(from, to, mark);
    frame.writeUInt16BE(length, 14 + 4);
    return frame;
  };
}

const PASSED: readonly [string, Build][] = [
  ['UDP', udp4],
  ['the first fragment of UDP', ip4(UDP, (mark) => mark, { fragment: { offset: 0, more: true } })],
  ['a later fragment of UDP', ip4(UDP, (mark) => mark, { fragment: { offset: 4, more: false } })],
  ['ICMP', ip4(F.PROTOCOL.icmp, F.icmpEcho)],
  ['IGMP with its router alert', ip4(F.PROTOCOL.igmp, (mark) => mark, { options: ROUTER_ALERT })],
  ['SCTP', ip4(132, (mark) => mark)],
  ['an ACK', tcp4(F.ACK)],
  ['a reset', tcp4(F.RST)],
  ['the answer to a SYN', tcp4(F.SYN | F.ACK)],
  ['an ARP request', arp(1, (from) => from.ip)],
  ['an ARP reply', arp(2, (from) => from.ip)],
  ['an ARP probe', arp(1, () => '0.0.0.0')],
  ['UDP over IPv6', udp6()],
  ['UDP behind hop-by-hop options', udp6([hopByHop])],
  ['fragments of UDP over IPv6', udp6([fragment(0, true)])],
  ['a later fragment of UDP over IPv6', udp6([fragment(3, false)])],
  ['an ACK over IPv6', tcp6(F.ACK)],
  ['an ACK behind destination options', tcp6(F.ACK, [destination])],
  ['an ACK whose header is all that its packet holds', cut6(tcp6(F.ACK), 20)],
  ['an echo request', chain6(F.PROTOCOL.icmpv6, (from, to, mark) => F.icmpv6(from.ip6, to.ip6, 128, mark))],
  ['a solicitation', discovery(135, () => STRANGER.ip6, LINK_LOCAL)],
  ['the test whether its address is taken', discovery(135, (from) => from.ip6, '::')],
  ['an advertisement of its own address', discovery(136, (from) => from.ip6)],
  [
    'a multicast report',
    chain6(
      F.PROTOCOL.icmpv6,
      (_from, to, mark) => F.icmpv6(LINK_LOCAL, to.ip6, 143, mark),
      [hopByHop],
      LINK_LOCAL,
    ),
  ],
];

for (const method of KERNEL_METHODS) {
  describe(`bpf: packets of a guarded pod, by ${method}`, () => {
    let lab: Lab;
    let mesh: TinyMesh;
    let guarded: MeshPod;
    let receiver: F.PacketSocket;
    let outsider: Pod;
    let ofGuarded: F.PacketSocket;
    /** Sends the same and is not guarded: what it sends arrives. */
    let free: Pod;
    let ofFree: F.PacketSocket;
    let marks = 0;

    before(() => {
      lab = new Lab();
      mesh = new TinyMesh(newInstanceName(), { hostNetnsFd: lab.hostNetnsFd, method });
      guarded = mesh.enrol(lab.pod('a'));
      free = mesh.enrol(lab.pod('b'), { guard: 'none' }).pod;
      outsider = lab.pod('c');
      receiver = new F.PacketSocket(outsider);
      ofGuarded = new F.PacketSocket(guarded.pod);
      ofFree = new F.PacketSocket(free);
    });
    after(() => {
      receiver?.[Symbol.dispose]();
      ofGuarded?.[Symbol.dispose]();
      ofFree?.[Symbol.dispose]();
      mesh?.[Symbol.dispose]();
      lab?.[Symbol.dispose]();
    });

    function drops(): Readonly<Record<string, number>> {
      const found = mesh.redirection.enrolled().find(({ cookie }) => cookie === guarded.handle.cookie);
      assert.ok(found?.guardDrops);
      return found.guardDrops;
    }

    /** Whether a frame arrives, and what was counted of it: one or the other becomes of each. */
    async function send(
      build: Build,
    ): Promise<{ arrives: boolean; arrivesOfFree: boolean; counted: string[] }> {
      marks += 1;
      const mark = Buffer.from(`lm${String(marks).padStart(6, '0')}-and more`);
      const sought = mark.subarray(0, 8);
      const before = drops();
      const counted = (): string[] => {
        const now = drops();
        return Object.keys(now).filter((reason) => now[reason] !== before[reason]);
      };
      ofFree.send(build(free, outsider, mark));
      const arrivesOfFree = await soon(() => receiver.saw(sought));
      ofGuarded.send(build(guarded.pod, outsider, mark));
      let arrives = false;
      await soon(() => (arrives ||= receiver.saw(sought)) || counted().length > 0);
      return { arrives, arrivesOfFree, counted: counted() };
    }

    for (const [what, reason, build] of DROPPED) {
      it(`are dropped: ${what}`, async () => {
        const { arrives, arrivesOfFree, counted } = await send(build);
        assert.deepEqual([arrives, counted], [false, [reason]]);
        // The control: nothing else would have kept it back.
        assert.ok(arrivesOfFree);
      });
    }
    for (const [what, build] of PASSED) {
      it(`pass: ${what}`, async () => {
        assert.deepEqual(await send(build), { arrives: true, arrivesOfFree: true, counted: [] });
      });
    }
  });
}
