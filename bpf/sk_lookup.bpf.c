// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
/*
 * Which socket gets a TCP connection that arrives in an enrolled netns. One instance of the program for each netns:
 * the helper that tells the netns is refused in this type, so the loader writes it into the program's own constants.
 * Any doubt is a drop, which the peer sees as a refused connection.
 */
#include "address.h"
#include "counters.h"
#include "maps.h"

#define HBONE_PORT 15008
#define LOOPBACK_IFINDEX 1 /* in every netns */
#define RECORD_MAX_AGE_NS (300ULL * 1000 * 1000 * 1000) /* longer than a SYN is repeated (127 s by default) */

/* Written by the loader before the program is loaded; one structure, so that it is the whole of .rodata. */
const volatile struct {
	__u64 netns;
	__u64 generation;
	struct own_addresses own;
	__u32 zero;
} self = {};

static __always_inline int drop(__u32 why)
{
	count(why);
	return SK_DROP;
}

static __always_inline int steer(struct bpf_sk_lookup *ctx, __u32 role, __u32 counter)
{
	struct listener_key key = { .netns = self.netns, .role = role };
	struct bpf_sock *listener = bpf_map_lookup_elem(&listeners, &key);
	long error;

	if (!listener)
		return drop(DROPPED_NO_LISTENER);
	/* A pod's process that opened a SO_REUSEPORT group around the listener must not get its connections. */
	error = bpf_sk_assign(ctx, listener, BPF_SK_LOOKUP_F_NO_REUSEPORT);
	bpf_sk_release(listener);
	if (error)
		return drop(DROPPED_NO_LISTENER);
	count(counter);
	return SK_PASS;
}

/*
 * Would this connection, left alone, find one of our listeners? They are reached by steering alone: else a process of
 * the pod could make ztunnel talk to itself.
 */
static __always_inline bool reaches_listener(__be32 local, __u32 port)
{
	struct listener_key key = { .netns = self.netns };
	struct bpf_sock *listener;
	bool same = false;
	__u32 role;

	for (role = 0; role < LISTENER_ROLES; role++) {
		key.role = role;
		listener = bpf_map_lookup_elem(&listeners, &key);
		if (!listener)
			continue;
		if (listener->src_port == port && (listener->src_ip4 == 0 || listener->src_ip4 == local))
			same = true;
		bpf_sk_release(listener);
	}
	return same;
}

static __always_inline int pass(struct bpf_sk_lookup *ctx, __u32 counter)
{
	if (reaches_listener(field(ctx->local_ip4), field(ctx->local_port)))
		return drop(DROPPED_LISTENER_PORT);
	count(counter);
	return SK_PASS;
}

static __always_inline int lookup4(struct bpf_sk_lookup *ctx)
{
	__be32 remote = field(ctx->remote_ip4);
	__be32 local = field(ctx->local_ip4);
	__u32 port = field(ctx->local_port);
	struct tuple key = { .netns = self.netns };
	struct record *record;

	set_mapped(key.source, remote);
	set_mapped(key.destination, local);
	key.source_port = bpf_ntohs(ctx->remote_port);
	key.destination_port = port;
	record = bpf_map_lookup_elem(&records, &key);
	if (record) {
		if (record->generation != self.generation ||
		    bpf_ktime_get_ns() - record->since > RECORD_MAX_AGE_NS)
			return drop(DROPPED_STALE);
		if (record->kind == RECORD_OUTBOUND)
			return steer(ctx, LISTENER_OUTBOUND, STEERED_OUTBOUND);
		if (record->kind == RECORD_TO_APPLICATION)
			return pass(ctx, PASSED_TO_APPLICATION);
		if (record->kind != RECORD_HAIRPIN)
			return drop(DROPPED_STALE);
	} else if (is_loopback4(local) && ctx->ingress_ifindex == LOOPBACK_IFINDEX) {
		/* Within the pod. A packet from outside has another interface, whatever its addresses say. */
		return pass(ctx, PASSED_LOOPBACK);
	} else if (is_loopback4(local) || is_loopback4(remote) || remote == local || remote == self.own.v4) {
		/*
		 * Whoever dials an address of its own pod was recorded, ztunnel too. So this one is forged, or its
		 * record could not be written.
		 */
		return drop(DROPPED_NO_RECORD);
	}
	if (port == HBONE_PORT)
		return steer(ctx, LISTENER_HBONE, STEERED_HBONE);
	return steer(ctx, LISTENER_PLAINTEXT, STEERED_PLAINTEXT);
}

/* Nothing over IPv6 is carried yet, so nothing from outside may reach the application by it. */
static __always_inline int lookup6(struct bpf_sk_lookup *ctx)
{
	__be32 remote[4], local[4];

	remote[0] = field(ctx->remote_ip6[0]);
	remote[1] = field(ctx->remote_ip6[1]);
	remote[2] = field(ctx->remote_ip6[2]);
	remote[3] = field(ctx->remote_ip6[3]);
	local[0] = field(ctx->local_ip6[0]);
	local[1] = field(ctx->local_ip6[1]);
	local[2] = field(ctx->local_ip6[2]);
	local[3] = field(ctx->local_ip6[3]);
	if (ctx->ingress_ifindex != LOOPBACK_IFINDEX || !(is_loopback6(remote) || is_loopback6(local)))
		return drop(DROPPED_IPV6);
	/* Our listeners are IPv4 sockets, which no IPv6 connection finds. */
	count(PASSED_LOOPBACK);
	return SK_PASS;
}

SEC("sk_lookup")
int loam_sk_lookup(struct bpf_sk_lookup *ctx)
{
	if (ctx->protocol != IPPROTO_TCP)
		return SK_PASS;
	return ctx->family == AF_INET ? lookup4(ctx) : lookup6(ctx);
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
