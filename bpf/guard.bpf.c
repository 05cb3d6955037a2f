// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
/*
 * What an enrolled pod may send, judged on the host side of its veth, where no process of the pod can reach: only from
 * its own addresses, and no TCP connection that is not the mesh's. The application's own connections are turned to the
 * pod itself by connect() and never come here, so that the only SYNs to leave are those of ztunnel's sockets. A veth
 * hands a packet over together with the socket that sent it: the socket itself is the record that is asked for (the
 * mark that only user space of ours can set, and the very tuple of the packet). A packet of a raw socket comes with
 * that one, one that was forwarded or rewritten inside the pod with none or with another tuple.
 *
 * One instance of the program for each pod, which knows by its constants whose packets it sees. Any doubt is a drop.
 */
#include "address.h"
#include "maps.h"
#include "off.h"

#define ETH_HEADER 14
#define ETHERTYPE_IPV4 0x0800
#define ETHERTYPE_ARP 0x0806
#define ETHERTYPE_IPV6 0x86dd

#define IPV4_HEADER 20
#define IPV4_FRAGMENT 0x3fff /* more fragments, or an offset */
#define IPV6_HEADER 40
#define IPV6_FRAGMENT_OFFSET 0xfff8
#define IPV6_FRAGMENT_MORE 1
#define IPV6_MAX_EXTENSIONS 8
#define TCP_HEADER 20
#define ICMPV6_HEADER 4
#define TCP_SYN 0x02
#define TCP_ACK 0x10

#define ND_FIRST 133
#define ND_ROUTER_ADVERTISEMENT 134
#define ND_NEIGHBOUR_ADVERTISEMENT 136
#define ND_LAST 137
#define ND_REDIRECT 137

/* Written by the loader before the program is loaded; one structure, so that it is the whole of .rodata. */
const volatile struct {
	__u64 netns;
} self = {};

/* A packet's addresses, IPv4 mapped. */
struct ends {
	__be32 source[4];
	__be32 destination[4];
};

static __always_inline int drop(enum guard_reason reason)
{
	__u64 netns = self.netns;
	struct guard_drops *drops = bpf_map_lookup_elem(&guard_drops, &netns);

	if (drops)
		__sync_fetch_and_add(&drops->by_reason[reason], 1);
	return TC_ACT_SHOT;
}

static __always_inline int pass(void)
{
	return TC_ACT_UNSPEC;
}

static __always_inline bool is_of_pod(const struct guard *guard, const __be32 ip[4])
{
	__u32 i;

	for (i = 0; i < GUARD_SOURCES; i++)
		if (i < guard->sources && same_ip(guard->source[i], ip))
			return true;
	return false;
}

/* Of an IPv6 packet: a mapped address would be taken for the pod's IPv4 address, which it is not there. */
static __always_inline bool is_of_pod6(const struct guard *guard, const __be32 ip[4])
{
	return !is_mapped(ip) && is_of_pod(guard, ip);
}

static __always_inline bool is_link_local6(const __be32 ip[4])
{
	return (ip[0] & bpf_htonl(0xffc00000)) == bpf_htonl(0xfe800000);
}

/* Did a socket of ours send this SYN, and does the packet go where that socket is connecting to? */
static __always_inline bool is_ours(struct __sk_buff *skb, const struct ends *ends, __u32 source_port,
				    __be16 destination_port, bool v6)
{
	struct own_socket *own;
	struct bpf_sock *sk = skb->sk;

	if (!sk)
		return false;
	sk = bpf_sk_fullsock(sk);
	if (!sk)
		return false;
	own = bpf_sk_storage_get(&own_sockets, sk, 0, 0);
	/* One towards the application has no business outside of the pod. */
	if (!own || (own->flags & OWN_SOCKET_TRUE_PEER))
		return false;
	if (sk->protocol != IPPROTO_TCP || sk->src_port != source_port || sk->dst_port != destination_port)
		return false;
	if (!v6)
		return sk->src_ip4 == ends->source[3] && sk->dst_ip4 == ends->destination[3];
	return sk->src_ip6[0] == ends->source[0] && sk->src_ip6[1] == ends->source[1] &&
	       sk->src_ip6[2] == ends->source[2] && sk->src_ip6[3] == ends->source[3] &&
	       sk->dst_ip6[0] == ends->destination[0] && sk->dst_ip6[1] == ends->destination[1] &&
	       sk->dst_ip6[2] == ends->destination[2] && sk->dst_ip6[3] == ends->destination[3];
}

/* Where the IPv6 packet in a frame ends. What lies beyond is padding, which a receiver cuts off before it reads on. */
static __always_inline __u32 end_of_ipv6(struct __sk_buff *skb, __be16 length, __u8 next)
{
	/* A jumbogram's length is in its first option (RFC 2675). A segment that is yet to be cut (BIG TCP) looks like one, or has none. */
	if (length == 0 && (next == IPPROTO_HOPOPTS || skb->gso_size))
		return skb->len;
	return ETH_HEADER + IPV6_HEADER + bpf_ntohs(length);
}

static __always_inline int judge_tcp(struct __sk_buff *skb, const struct ends *ends, __u32 offset, bool v6)
{
	__be16 ports[2];
	__u8 flags;

	if (bpf_skb_load_bytes(skb, offset, ports, sizeof(ports)) ||
	    bpf_skb_load_bytes(skb, offset + 13, &flags, sizeof(flags)))
		return drop(GUARD_MALFORMED);
	/* A listener takes nothing but a SYN without ACK, whatever other flags are set beside it (RFC 9293, 3.10.7.2). */
	if ((flags & (TCP_SYN | TCP_ACK)) != TCP_SYN)
		return pass();
	return is_ours(skb, ends, bpf_ntohs(ports[0]), ports[1], v6) ? pass() : drop(GUARD_SYN);
}

static __always_inline int judge_ipv4(struct __sk_buff *skb, const struct guard *guard)
{
	struct {
		__u8 version_ihl, tos;
		__be16 length, id, fragment;
		__u8 ttl, protocol;
		__be16 checksum;
		__be32 source, destination;
	} ip;
	struct ends ends;
	__u32 header;

	if (bpf_skb_load_bytes(skb, ETH_HEADER, &ip, sizeof(ip)))
		return drop(GUARD_MALFORMED);
	header = (ip.version_ihl & 15) * 4;
	if (ip.version_ihl >> 4 != 4 || header < IPV4_HEADER)
		return drop(GUARD_MALFORMED);
	set_mapped(ends.source, ip.source);
	set_mapped(ends.destination, ip.destination);
	if (!is_of_pod(guard, ends.source))
		return drop(GUARD_SOURCE);
	switch (ip.protocol) {
	case IPPROTO_TCP:
		if (ip.fragment & bpf_htons(IPV4_FRAGMENT))
			return drop(GUARD_FRAGMENT);
		if (header != IPV4_HEADER)
			return drop(GUARD_OPTIONS);
		return judge_tcp(skb, &ends, ETH_HEADER + IPV4_HEADER, false);
	case IPPROTO_UDP:
	case IPPROTO_ICMP:
	case IPPROTO_IGMP:
	case IPPROTO_SCTP:
	case IPPROTO_UDPLITE:
		return pass();
	default:
		return drop(GUARD_PROTOCOL);
	}
}

static __always_inline int judge_icmpv6(struct __sk_buff *skb, const struct guard *guard, __u32 offset, bool fragment)
{
	__be32 target[4];
	__u8 type;

	if (bpf_skb_load_bytes(skb, offset, &type, sizeof(type)))
		return drop(GUARD_MALFORMED);
	if (type < ND_FIRST || type > ND_LAST)
		return pass();
	/* Neighbour discovery in fragments is ignored by whoever follows RFC 6980. */
	if (fragment || type == ND_ROUTER_ADVERTISEMENT || type == ND_REDIRECT)
		return drop(GUARD_NEIGHBOUR);
	if (type != ND_NEIGHBOUR_ADVERTISEMENT)
		return pass();
	if (bpf_skb_load_bytes(skb, offset + 8, target, sizeof(target)))
		return drop(GUARD_MALFORMED);
	return is_link_local6(target) || is_of_pod6(guard, target) ? pass() : drop(GUARD_NEIGHBOUR);
}

/* What a fragment other than the first belongs to, by the first one's header; that one is judged when it comes. */
static __always_inline int judge_later_fragment(__u8 protocol)
{
	switch (protocol) {
	case IPPROTO_UDP:
	case IPPROTO_ICMPV6:
	case IPPROTO_SCTP:
	case IPPROTO_UDPLITE:
		return pass();
	default:
		return drop(GUARD_FRAGMENT);
	}
}

static __always_inline int judge_ipv6(struct __sk_buff *skb, const struct guard *guard)
{
	struct {
		__be32 flow;
		__be16 length;
		__u8 next, hops;
		struct ends ends;
	} ip;
	__u32 offset = ETH_HEADER + IPV6_HEADER;
	struct {
		__u8 next, length;
		__be16 fragment;
	} extension;
	bool own, fragment = false;
	__u8 next;
	__u32 i, end;

	if (bpf_skb_load_bytes(skb, ETH_HEADER, &ip, sizeof(ip)))
		return drop(GUARD_MALFORMED);
	if ((ip.flow & bpf_htonl(0xf0000000)) != bpf_htonl(0x60000000))
		return drop(GUARD_MALFORMED);
	own = is_of_pod6(guard, ip.ends.source);
	/* On the link itself a host speaks from its link-local address, or from none: ICMPv6 alone, below. */
	if (!own && !is_link_local6(ip.ends.source) && !is_any6(ip.ends.source))
		return drop(GUARD_SOURCE);
	next = ip.next;
	end = end_of_ipv6(skb, ip.length, ip.next);
	for (i = 0; i < IPV6_MAX_EXTENSIONS; i++) {
		if (next != IPPROTO_HOPOPTS && next != IPPROTO_DSTOPTS && next != IPPROTO_FRAGMENT)
			break;
		if (offset + 8 > end || bpf_skb_load_bytes(skb, offset, &extension, sizeof(extension)))
			return drop(GUARD_MALFORMED);
		if (next == IPPROTO_FRAGMENT) {
			if (extension.fragment & bpf_htons(IPV6_FRAGMENT_OFFSET)) {
				if (!own && extension.next != IPPROTO_ICMPV6)
					return drop(GUARD_SOURCE);
				return judge_later_fragment(extension.next);
			}
			fragment = true;
			offset += 8;
		} else {
			offset += 8 + extension.length * 8;
		}
		next = extension.next;
	}
	if (offset > end || (next == IPPROTO_ICMPV6 && offset + ICMPV6_HEADER > end) ||
	    (next == IPPROTO_TCP && offset + TCP_HEADER > end))
		return drop(GUARD_MALFORMED);
	if (next == IPPROTO_ICMPV6)
		return judge_icmpv6(skb, guard, offset, fragment);
	if (!own)
		return drop(GUARD_SOURCE);
	switch (next) {
	case IPPROTO_TCP:
		return fragment ? drop(GUARD_FRAGMENT) : judge_tcp(skb, &ip.ends, offset, true);
	case IPPROTO_UDP:
	case IPPROTO_SCTP:
	case IPPROTO_UDPLITE:
		return pass();
	case IPPROTO_HOPOPTS:
	case IPPROTO_DSTOPTS:
	case IPPROTO_FRAGMENT:
	case IPPROTO_ROUTING:
		return drop(GUARD_EXTENSION);
	default:
		return drop(GUARD_PROTOCOL);
	}
}

static __always_inline int judge_arp(struct __sk_buff *skb, const struct guard *guard)
{
	__be32 sender, mapped[4];

	/* Sender's protocol address, of ARP for IPv4 over Ethernet; nobody's when an address is being probed (RFC 5227). */
	if (bpf_skb_load_bytes(skb, ETH_HEADER + 14, &sender, sizeof(sender)))
		return drop(GUARD_MALFORMED);
	set_mapped(mapped, sender);
	return sender == 0 || is_of_pod(guard, mapped) ? pass() : drop(GUARD_NEIGHBOUR);
}

SEC("tc")
int loam_guard(struct __sk_buff *skb)
{
	__u64 netns = self.netns;
	struct guard *guard = bpf_map_lookup_elem(&guards, &netns);

	if (is_off(netns))
		return pass();
	if (!guard)
		return drop(GUARD_SOURCE);
	/* The outermost tag was taken off already, an inner one shows as the ethertype. */
	if (skb->vlan_present)
		return drop(GUARD_VLAN);
	switch (bpf_ntohs(skb->protocol)) {
	case ETHERTYPE_IPV4:
		return judge_ipv4(skb, guard);
	case ETHERTYPE_IPV6:
		return judge_ipv6(skb, guard);
	case ETHERTYPE_ARP:
		return judge_arp(skb, guard);
	default:
		return drop(GUARD_ETHERTYPE);
	}
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
