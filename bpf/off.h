/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * `loam off`: pods, or the whole node, whose network is plain for now although they are enrolled. Written by user space
 * alone, straight into the pinned map, so that it works while every program of ours is away.
 */
#ifndef LOAM_OFF_H
#define LOAM_OFF_H

#include "maps.h"

/* No network namespace has these cookies. */
#define OFF_NODE 0
#define OFF_INBOUND 0xffffffffffffffffULL /* plaintext is taken by every pod of the node; what they dial is redirected still */

static __always_inline bool is_off(__u64 netns)
{
	__u64 node = OFF_NODE;

	return bpf_map_lookup_elem(&switched_off, &netns) || bpf_map_lookup_elem(&switched_off, &node);
}

static __always_inline bool takes_plaintext(__u64 netns)
{
	__u64 inbound = OFF_INBOUND;

	return is_off(netns) || bpf_map_lookup_elem(&switched_off, &inbound);
}

#endif
