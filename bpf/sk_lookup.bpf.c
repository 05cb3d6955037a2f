// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
/*
 * Which socket gets a TCP connection that arrives in an enrolled netns. One instance of the program for each netns:
 * the helper that tells the netns is refused in this type, so the loader writes it into the program's own constants.
 * Any doubt is a drop, which the peer sees as a refused connection.
 */
#include "address.h"
#include "counters.h"
#include "maps.h"
#include "off.h"
#include "probes.h"
#include "stored.h"

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

static __always_inline bool listens_on(struct bpf_sock *listener, const __be32 local[4])
{
	__be32 bound[4];

	/* An IPv6 socket bound to :: or to a v4-mapped address has an IPv4 address too. */
	if (is_mapped(local))
		return listener->src_ip4 == 0 || listener->src_ip4 == local[3];
	if (listener->family != AF_INET6)
		return false;
	bound[0] = listener->src_ip6[0];
	bound[1] = listener->src_ip6[1];
	bound[2] = listener->src_ip6[2];
	bound[3] = listener->src_ip6[3];
	return is_any6(bound) || same_ip(bound, local);
}

/*
 * Would this connection, left alone, find one of our listeners? They are reached by steering alone: else a process of
 * the pod could make ztunnel talk to itself.
 */
static __always_inline bool reaches_listener(const __be32 local[4], __u32 port)
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
		if (listener->src_port == port && listens_on(listener, local))
			same = true;
		bpf_sk_release(listener);
	}
	return same;
}

static __always_inline int pass(const struct tuple *key, __u32 counter)
{
	if (reaches_listener(key->destination, key->destination_port))
		return drop(DROPPED_LISTENER_PORT);
	count(counter);
	return SK_PASS;
}

/* The remote end as source, the local as destination. False for what only a forged packet can say. */
static __always_inline bool read_packet(struct bpf_sk_lookup *ctx, struct tuple *out)
{
	out->source_port = bpf_ntohs(ctx->remote_port);
	out->destination_port = field(ctx->local_port);
	if (ctx->family == AF_INET) {
		set_mapped(out->source, field(ctx->remote_ip4));
		set_mapped(out->destination, field(ctx->local_ip4));
		return true;
	}
	out->source[0] = field(ctx->remote_ip6[0]);
	out->source[1] = field(ctx->remote_ip6[1]);
	out->source[2] = field(ctx->remote_ip6[2]);
	out->source[3] = field(ctx->remote_ip6[3]);
	out->destination[0] = field(ctx->local_ip6[0]);
	out->destination[1] = field(ctx->local_ip6[1]);
	out->destination[2] = field(ctx->local_ip6[2]);
	out->destination[3] = field(ctx->local_ip6[3]);
	/* A v4-mapped address is never in an IPv6 packet; here it would be taken for that of an IPv4 connection. */
	return !is_mapped(out->source) && !is_mapped(out->destination);
}

SEC("sk_lookup")
int loam_sk_lookup(struct bpf_sk_lookup *ctx)
{
	struct own_addresses own = self.own;
	struct tuple key = { .netns = self.netns };
	struct record record;

	if (ctx->protocol != IPPROTO_TCP)
		return SK_PASS;
	if (!read_packet(ctx, &key))
		return drop(DROPPED_MAPPED);
	if (find_record(&key, &record)) {
		if (record.generation != self.generation ||
		    bpf_ktime_get_ns() - record.since > RECORD_MAX_AGE_NS)
			return drop(DROPPED_STALE);
		if (record.kind == RECORD_OUTBOUND)
			return steer(ctx, LISTENER_OUTBOUND, STEERED_OUTBOUND);
		if (record.kind == RECORD_TO_APPLICATION)
			return pass(&key, PASSED_TO_APPLICATION);
		if (record.kind != RECORD_HAIRPIN)
			return drop(DROPPED_STALE);
	} else if (is_loopback(key.destination) && ctx->ingress_ifindex == LOOPBACK_IFINDEX) {
		/* Within the pod. A packet from outside has another interface, whatever its addresses say. */
		return pass(&key, PASSED_LOOPBACK);
	} else if (key.destination_port != HBONE_PORT && takes_plaintext(self.netns)) {
		/* Others' mTLS is still taken: they do not know, and need not. */
		return pass(&key, PASSED_OFF);
	} else if (key.destination_port != HBONE_PORT && is_probe(&key)) {
		return pass(&key, PASSED_PROBE);
	} else if (is_internal(key.destination) || is_internal(key.source) ||
		   same_ip(key.source, key.destination) || is_own(&own, key.source)) {
		/*
		 * Whoever dials an address of its own pod was recorded, ztunnel too. So this one is forged, or its
		 * record could not be written.
		 */
		return drop(DROPPED_NO_RECORD);
	}
	if (key.destination_port == HBONE_PORT)
		return steer(ctx, LISTENER_HBONE, STEERED_HBONE);
	return steer(ctx, LISTENER_PLAINTEXT, STEERED_PLAINTEXT);
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
