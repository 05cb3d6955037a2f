/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * getpeername(), and accept(), which asks the same hook: a client sees the address that it dialled, a server the
 * true client. Both are known by storage of the socket itself, so sockets of pods that are not ours have none.
 */
#ifndef LOAM_PEER_NAME_H
#define LOAM_PEER_NAME_H

#include "address.h"
#include "stored.h"

static __always_inline int name_peer(struct bpf_sock_addr *ctx, bool v6)
{
	struct bpf_sock *sk = ctx->sk;
	struct address *peer;

	if (!sk)
		return 1;
	peer = dialled_by(sk);
	if (!peer)
		peer = true_peer_of(sk);
	if (!peer)
		return 1;
	if (v6 || is_mapped(peer->ip)) {
		write_user_address(ctx, v6, peer);
	} else {
		/*
		 * An IPv4 socket whose client, behind a waypoint, has an IPv6 address. Left as it is it would show
		 * ztunnel's 127.x.y.z, which programs take for a friend; so the IPv4 dummy address (RFC 7600).
		 */
		struct address dummy = { .port = peer->port };

		set_mapped(dummy.ip, bpf_htonl(0xc0000008));
		write_user_address(ctx, v6, &dummy);
	}
	return 1;
}

#endif
