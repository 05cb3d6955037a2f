/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/* Questions about addresses, and reading them from a context. */
#ifndef LOAM_ADDRESS_H
#define LOAM_ADDRESS_H

#include "types.h"
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_endian.h>

#define MAPPED_PREFIX bpf_htonl(0xffff) /* third word of ::ffff:a.b.c.d */

/*
 * Keeps a field just read from a context in a register of its own. Without it clang merges loads of two branches
 * into one at a computed offset, and the verifier refuses a "modified ctx ptr".
 */
static __always_inline __u32 field(__u32 value)
{
	asm volatile("" : "+r"(value) : : "memory");
	return value;
}

static __always_inline bool is_mapped(const __be32 ip[4])
{
	return ip[0] == 0 && ip[1] == 0 && ip[2] == MAPPED_PREFIX;
}

static __always_inline bool is_loopback4(__be32 ip)
{
	return (ip & bpf_htonl(0xff000000)) == bpf_htonl(0x7f000000);
}

static __always_inline bool is_loopback6(const __be32 ip[4])
{
	return ip[0] == 0 && ip[1] == 0 && ip[2] == 0 && ip[3] == bpf_htonl(1);
}

static __always_inline bool is_any6(const __be32 ip[4])
{
	return ip[0] == 0 && ip[1] == 0 && ip[2] == 0 && ip[3] == 0;
}

static __always_inline bool is_loopback(const __be32 ip[4])
{
	return is_mapped(ip) ? is_loopback4(ip[3]) : is_loopback6(ip);
}

/*
 * fd5b:8c1d:9a6e::/64, which every pod has to itself (routed to lo): IPv6 has one loopback address only, and ztunnel
 * needs many to connect to the application from.
 */
static __always_inline bool is_private_source(const __be32 ip[4])
{
	return ip[0] == bpf_htonl(0xfd5b8c1d) && ip[1] == bpf_htonl(0x9a6e0000);
}

/* An address that means something within a pod only: no packet from outside has a right to it. */
static __always_inline bool is_internal(const __be32 ip[4])
{
	return is_loopback(ip) || is_private_source(ip);
}

/*
 * What cannot be carried to anywhere: multicast and broadcast, which TCP has not; IPv6 link-local addresses, whose
 * interface the hook is not told; the private sources.
 */
static __always_inline bool is_nowhere(const __be32 ip[4])
{
	if (is_mapped(ip))
		return ip[3] == 0xffffffff || (ip[3] & bpf_htonl(0xf0000000)) == bpf_htonl(0xe0000000);
	return (ip[0] & bpf_htonl(0xff000000)) == bpf_htonl(0xff000000) ||
	       (ip[0] & bpf_htonl(0xffc00000)) == bpf_htonl(0xfe800000) || is_private_source(ip);
}

static __always_inline void copy_ip(__be32 to[4], const __be32 from[4])
{
	to[0] = from[0];
	to[1] = from[1];
	to[2] = from[2];
	to[3] = from[3];
}

static __always_inline void set_mapped(__be32 ip[4], __be32 v4)
{
	ip[0] = 0;
	ip[1] = 0;
	ip[2] = MAPPED_PREFIX;
	ip[3] = v4;
}

static __always_inline bool same_ip(const __be32 a[4], const __be32 b[4])
{
	return a[0] == b[0] && a[1] == b[1] && a[2] == b[2] && a[3] == b[3];
}

/* Is this the pod's own address of its family? */
static __always_inline bool is_own(const struct own_addresses *own, const __be32 ip[4])
{
	return is_mapped(ip) ? ip[3] == own->v4 : same_ip(ip, own->v6);
}

/* The pod's own address of the family of `ip` in its place. False: it has none. */
static __always_inline bool set_own(const struct own_addresses *own, __be32 ip[4])
{
	if (is_mapped(ip)) {
		ip[3] = own->v4;
		return own->v4 != 0;
	}
	copy_ip(ip, own->v6);
	return !is_any6(ip);
}

/* The address of a connect or getpeername call. */
static __always_inline void read_user_address(struct bpf_sock_addr *ctx, bool v6, struct address *out)
{
	if (v6) {
		out->ip[0] = field(ctx->user_ip6[0]);
		out->ip[1] = field(ctx->user_ip6[1]);
		out->ip[2] = field(ctx->user_ip6[2]);
		out->ip[3] = field(ctx->user_ip6[3]);
	} else {
		set_mapped(out->ip, field(ctx->user_ip4));
	}
	out->port = field(ctx->user_port);
	out->zero = 0;
}

static __always_inline void write_user_address(struct bpf_sock_addr *ctx, bool v6, const struct address *in)
{
	if (v6) {
		ctx->user_ip6[0] = in->ip[0];
		ctx->user_ip6[1] = in->ip[1];
		ctx->user_ip6[2] = in->ip[2];
		ctx->user_ip6[3] = in->ip[3];
	} else {
		ctx->user_ip4 = in->ip[3];
	}
	ctx->user_port = in->port;
}

#endif
