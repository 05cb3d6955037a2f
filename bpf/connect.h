/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * connect(): an enrolled pod's TCP connection is turned to the pod's own address, where sk_lookup gives it to the
 * outbound listener. The pod's own address and not 127.0.0.1, so that sockets bound to a device work and
 * getsockname() says what it says without a mesh.
 */
#ifndef LOAM_CONNECT_H
#define LOAM_CONNECT_H

#include "address.h"
#include "counters.h"
#include "maps.h"
#include "off.h"
#include "probes.h"
#include "shares.h"
#include "stored.h"

enum { REFUSE = 0, ALLOW = 1 };

static __always_inline int refuse(int error)
{
	bpf_set_retval(-error);
	return REFUSE;
}

/* Is there no room for one more connection of this kind that has not reached our listener yet? */
static __always_inline bool at_cap(const struct pod *pod, struct pod_use *use, __u32 kind)
{
	if (has_room(pod, use->outstanding[kind]))
		return false;
	__sync_fetch_and_add(&use->refused_cap, 1);
	return true;
}

/*
 * Spread over a range, since one (address, port) pair allows only some 28,000 connections, TIME_WAIT included.
 * Never the socket's own source port: a TCP socket that dials itself is connected to itself.
 */
static __always_inline __u16 spread_port(const struct pod *pod, __u16 source_port)
{
	__u32 n = pod->port_count ? pod->port_count : 1;
	__u32 i = bpf_get_prandom_u32() % n;

	if (pod->port_low + i == source_port)
		i = (i + 1) % n;
	return pod->port_low + i;
}

/*
 * The errno for a destination that the pod has no route to, else 0. Turned to the pod itself, every connection has one:
 * a client that tries IPv6 first would find it made, and not try IPv4 (RFC 8305).
 */
static __always_inline __u32 unrouted(__u64 netns, const struct own_addresses *own, const __be32 ip[4])
{
	struct route_key key = { .bits = 8 * (sizeof(key) - sizeof(key.bits)), .netns = { netns, netns >> 32 } };
	__u32 *error;

	if (is_mapped(ip) || is_own(own, ip))
		return 0;
	copy_ip(key.ip, ip);
	error = bpf_map_lookup_elem(&routes, &key);
	return error ? *error : 0;
}

static __always_inline int redirect(struct bpf_sock_addr *ctx, bool v6)
{
	struct own_socket *own;
	struct pod_use *use;
	struct address to, turned;
	struct bpf_sock *sk;
	struct pod *pod;
	__u64 netns;
	__u32 device, error;

	if (ctx->protocol != IPPROTO_TCP)
		return ALLOW;
	netns = bpf_get_netns_cookie(ctx);
	pod = bpf_map_lookup_elem(&pods, &netns);
	sk = ctx->sk;
	if (!pod) {
		/* Its entry was taken away behind our back. Not so of ztunnel's sockets, which leave encrypted. */
		if (bpf_map_lookup_elem(&enrolled, &netns) && !is_off(netns) &&
		    !(sk && bpf_sk_storage_get(&own_sockets, sk, 0, 0))) {
			count(REFUSED_ENTRY);
			return refuse(ENOBUFS);
		}
		/* Of a pod that was enrolled when this socket dialled before: what it dials now, it reaches. */
		if (sk && dialled_by(sk))
			forget_dialled(sk);
		note_probe(sk, netns);
		return ALLOW;
	}
	own = sk ? bpf_sk_storage_get(&own_sockets, sk, 0, 0) : NULL;
	/* Not so ztunnel's: it goes on to serve those who come by the mesh, and the connections that were there before. */
	if (!own && is_off(netns)) {
		if (sk)
			forget_dialled(sk);
		count(OFF_CONNECTS);
		return ALLOW;
	}
	use = bpf_map_lookup_elem(&pod_uses, &netns);
	if (!sk || !use) {
		count(REFUSED_ENTRY);
		return refuse(ENOBUFS);
	}
	read_user_address(ctx, v6, &to);

	if (own) {
		if ((own->flags & OWN_SOCKET_TRUE_PEER) && at_cap(pod, use, RECORD_TO_APPLICATION)) {
			count(REFUSED_CAP);
			return refuse(ENOBUFS);
		}
		count(OWN_CONNECTS);
		return ALLOW;
	}

	/* 0.0.0.0 is the socket's own address where it is bound to one, else loopback; :: is loopback always. */
	if (is_mapped(to.ip) && to.ip[3] == 0)
		to.ip[3] = sk->src_ip4;
	if (is_loopback(to.ip) || (is_mapped(to.ip) ? to.ip[3] == 0 : is_any6(to.ip))) {
		forget_dialled(sk);
		count(LOOPBACK_CONNECTS);
		return ALLOW;
	}
	/* What a host without a route says: the client goes on to its next address, of the other family perhaps. */
	if (is_nowhere(to.ip)) {
		count(REFUSED_SCOPE);
		return refuse(ENETUNREACH);
	}
	turned = to;
	if (!set_own(&pod->own, turned.ip)) {
		count(REFUSED_FAMILY);
		return refuse(ENETUNREACH);
	}
	/*
	 * A socket bound to another device than has the address that it is turned to would look for that address there:
	 * the connection would leave the pod, to whoever claims the address on that network.
	 */
	device = sk->bound_dev_if;
	if (device && device != (is_mapped(to.ip) ? pod->device_v4 : pod->device_v6)) {
		count(REFUSED_DEVICE);
		return refuse(ENETUNREACH);
	}
	error = unrouted(netns, &pod->own, to.ip);
	if (error) {
		count(REFUSED_ROUTE);
		return refuse(error);
	}
	if (at_cap(pod, use, RECORD_OUTBOUND)) {
		count(REFUSED_CAP);
		return refuse(ENOBUFS);
	}
	if (!remember_dialled(sk, &to)) {
		count(REFUSED_STORAGE);
		return refuse(ENOBUFS);
	}
	turned.port = bpf_htons(spread_port(pod, sk->src_port));
	write_user_address(ctx, v6, &turned);
	count(CAPTURED);
	return ALLOW;
}

#endif
