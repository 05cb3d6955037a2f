/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * The life of a record: published when the source port is known and the SYN not yet sent, consumed when the other
 * end is established, and withdrawn when the connecting socket closes without that. sk_lookup only reads it: with
 * SYN cookies it runs for the SYN and again for the ACK.
 */
#ifndef LOAM_RECORDS_H
#define LOAM_RECORDS_H

#include "address.h"
#include "counters.h"
#include "maps.h"
#include "probes.h"
#include "shares.h"
#include "stored.h"

/* Reads local as source, remote as destination. */
static __always_inline bool read_tuple(struct bpf_sock_ops *ops, struct tuple *out)
{
	__u32 family = field(ops->family);
	__u32 local4 = field(ops->local_ip4);
	__u32 remote4 = field(ops->remote_ip4);
	__u32 remote6[4], local6[4];
	__u32 local_port = field(ops->local_port);
	__u32 remote_port = field(ops->remote_port);

	remote6[0] = field(ops->remote_ip6[0]);
	remote6[1] = field(ops->remote_ip6[1]);
	remote6[2] = field(ops->remote_ip6[2]);
	remote6[3] = field(ops->remote_ip6[3]);
	local6[0] = field(ops->local_ip6[0]);
	local6[1] = field(ops->local_ip6[1]);
	local6[2] = field(ops->local_ip6[2]);
	local6[3] = field(ops->local_ip6[3]);
	if (family == AF_INET || (family == AF_INET6 && is_mapped(remote6))) {
		set_mapped(out->source, local4);
		set_mapped(out->destination, remote4);
	} else if (family == AF_INET6) {
		copy_ip(out->source, local6);
		copy_ip(out->destination, remote6);
	} else {
		return false;
	}
	out->netns = bpf_get_netns_cookie(ops);
	out->source_port = local_port;
	out->destination_port = bpf_ntohl(remote_port);
	out->zero = 0;
	return true;
}

/* What this connecting socket's record is to say. False: it needs none. */
static __always_inline bool describe(struct bpf_sock *sk, const struct tuple *key, struct record *out)
{
	struct own_socket *own = bpf_sk_storage_get(&own_sockets, sk, 0, 0);
	struct address *to;
	bool hairpin = same_ip(key->source, key->destination);

	if (own) {
		if ((own->flags & OWN_SOCKET_TRUE_PEER) && (hairpin || is_internal(key->source))) {
			out->kind = RECORD_TO_APPLICATION;
			out->address = own->true_peer;
			return true;
		}
		out->kind = RECORD_HAIRPIN;
		return hairpin;
	}
	to = dialled_by(sk);
	if (!to)
		return false;
	out->kind = RECORD_OUTBOUND;
	out->address = *to;
	return true;
}

/*
 * It is too late here to refuse connect(). A connection left without a record is dropped by sk_lookup, which its
 * client sees as ECONNREFUSED: it was turned to the pod itself already, so nothing can escape.
 */
static __always_inline void publish(struct bpf_sock_ops *ops)
{
	struct bpf_sock *sk = ops->sk;
	struct record record = {};
	struct pod_use *use;
	struct tuple key;
	struct pod *pod;
	__u64 *number;
	long error;

	if (!sk || !read_tuple(ops, &key))
		return;
	pod = bpf_map_lookup_elem(&pods, &key.netns);
	if (!pod) {
		publish_probe(ops, sk, &key);
		return;
	}
	use = bpf_map_lookup_elem(&pod_uses, &key.netns);
	if (!use || !describe(sk, &key, &record))
		return;
	number = outstanding(use, record.kind);
	if (!number)
		return;
	if (!has_room(pod, *number)) {
		__sync_fetch_and_add(&use->refused_cap, 1);
		count(RECORD_CAP);
		return;
	}
	record.generation = pod->generation;
	record.socket = bpf_get_socket_cookie(ops);
	record.since = bpf_ktime_get_ns();
	error = bpf_map_update_elem(&records, &key, &record, BPF_NOEXIST);
	if (!error) {
		__sync_fetch_and_add(number, 1);
		count_record(1);
	} else if (error == -EEXIST) {
		/* Left by a socket whose close we were not told of: take its place, counted already. */
		error = bpf_map_update_elem(&records, &key, &record, BPF_EXIST);
	}
	if (error) {
		__sync_fetch_and_add(&use->refused_full, 1);
		count(RECORDS_FULL);
		return;
	}
	/* Together with the flags that others have set, so that a failed connection is heard of as well. */
	bpf_sock_ops_cb_flags_set(ops, field(ops->bpf_sock_ops_cb_flags) | BPF_SOCK_OPS_STATE_CB_FLAG);
	count(RECORDED);
}

/* The accepting end: moves what the record says to the accepted socket. */
static __always_inline void consume(struct bpf_sock_ops *ops)
{
	struct bpf_sock *sk = ops->sk;
	struct tuple here, key;
	struct record record;
	bool stored = true;

	if (!sk || !read_tuple(ops, &here) || !bpf_map_lookup_elem(&pods, &here.netns))
		return;
	key = here;
	copy_ip(key.source, here.destination);
	copy_ip(key.destination, here.source);
	key.source_port = here.destination_port;
	key.destination_port = here.source_port;
	if (!find_record(&key, &record) || !remove_record(&key, record.kind))
		return;
	if (record.kind == RECORD_OUTBOUND)
		stored = store(&original_dst, sk, &record.address);
	else if (record.kind == RECORD_TO_APPLICATION)
		stored = remember_true_peer(sk, &record.address);
	count(stored ? CONSUMED : CONSUME_STORAGE_FAILED);
}

/* The connecting end closed. Deleted pods too: the record goes whether or not the pod is still enrolled. */
static __always_inline void withdraw(struct bpf_sock_ops *ops)
{
	struct record record;
	struct tuple key;

	if (!read_tuple(ops, &key))
		return;
	if (!find_record(&key, &record)) {
		withdraw_probe(ops, &key);
		return;
	}
	if (record.socket == bpf_get_socket_cookie(ops) && remove_record(&key, record.kind))
		count(WITHDRAWN);
}

#endif
