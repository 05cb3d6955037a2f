/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * getpeername(), and accept(), which asks the same hook: a client sees the address that it dialled, a server the
 * true client. Both are known by storage of the socket itself, so sockets of pods that are not ours have none.
 */
#ifndef LOAM_PEER_NAME_H
#define LOAM_PEER_NAME_H

#include "address.h"
#include "stored.h"

/* From where ztunnel connects to applications: all of 127/8 but 127.0/16, or the private /64 (ztunnel's pod-sockets.ts). */
static __always_inline bool is_ztunnels(const __be32 ip[4])
{
	if (is_mapped(ip))
		return is_loopback4(ip[3]) && (ip[3] & bpf_htonl(0x00ff0000));
	return is_private_source(ip);
}

/*
 * Did ztunnel connect on behalf of a client that could not be written down (no memory)? Only its connections come from
 * within the pod to an address that means something outside. Those that it accepts itself are not an application's.
 */
static __always_inline bool lost_client(struct bpf_sock_addr *ctx, struct bpf_sock *sk, bool v6)
{
	struct address peer, local = {};
	__u64 netns;

	read_user_address(ctx, v6, &peer);
	if (!is_ztunnels(peer.ip))
		return false;
	if (v6) {
		local.ip[0] = sk->src_ip6[0];
		local.ip[1] = sk->src_ip6[1];
		local.ip[2] = sk->src_ip6[2];
		local.ip[3] = sk->src_ip6[3];
	} else {
		set_mapped(local.ip, sk->src_ip4);
	}
	if (is_internal(local.ip))
		return false;
	netns = bpf_get_netns_cookie(ctx);
	return bpf_map_lookup_elem(&pods, &netns) && !bpf_sk_storage_get(&original_dst, sk, 0, 0) &&
	       !bpf_sk_storage_get(&own_sockets, sk, 0, 0);
}

/* The IPv4 dummy address (RFC 7600) as a v4-mapped one, for a peer that must not be taken for a friend of the pod's. */
static __always_inline void name_dummy(struct bpf_sock_addr *ctx, bool v6, __be16 port)
{
	struct address dummy = { .port = port };

	set_mapped(dummy.ip, bpf_htonl(0xc0000008));
	write_user_address(ctx, v6, &dummy);
}

static __always_inline int name_peer(struct bpf_sock_addr *ctx, bool v6)
{
	struct bpf_sock *sk = ctx->sk;
	struct address *peer;

	if (!sk)
		return 1;
	peer = dialled_by(sk);
	if (!peer)
		peer = true_peer_of(sk);
	if (!peer) {
		if (lost_client(ctx, sk, v6))
			name_dummy(ctx, v6, 0);
		return 1;
	}
	if (v6 || is_mapped(peer->ip))
		write_user_address(ctx, v6, peer);
	else
		/* An IPv4 socket whose client, behind a waypoint, has an IPv6 address. */
		name_dummy(ctx, v6, peer->port);
	return 1;
}

#endif
