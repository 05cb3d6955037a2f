/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/* What the guard of a pod knows, and what it dropped. The order of the reasons is that of GUARD_REASONS in guard-layout.ts. */
#ifndef LOAM_GUARD_H
#define LOAM_GUARD_H

#include "types.h"

#define GUARD_SOURCES 4

enum guard_reason {
	GUARD_SOURCE, /* a source address that is not the pod's */
	GUARD_SYN, /* a TCP connection that is none of ours: raw socket, nested namespace, source route */
	GUARD_FRAGMENT, /* TCP in fragments, where the header can be hidden */
	GUARD_OPTIONS, /* TCP behind IPv4 options */
	GUARD_EXTENSION, /* IPv6 routing header, or more extension headers than are followed */
	GUARD_VLAN, /* a VLAN tag */
	GUARD_ETHERTYPE, /* neither IP nor ARP */
	GUARD_PROTOCOL, /* an IP protocol that can carry TCP unseen: tunnels, IPsec, and whatever is not known */
	GUARD_NEIGHBOUR, /* ARP or neighbour discovery that speaks for somebody else */
	GUARD_MALFORMED, /* headers that cannot be read */
	GUARD_REASONS,
};

/* By netns cookie. A pod whose packets are guarded and that has none sends nothing. */
struct guard {
	__be32 source[GUARD_SOURCES][4]; /* the pod's addresses, IPv4 as ::ffff:a.b.c.d */
	__u32 sources;
	__u32 zero;
};

struct guard_drops {
	__u64 by_reason[GUARD_REASONS];
};

#endif
