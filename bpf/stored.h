/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * What sockets and connections under way have stored: the one place that reads and writes it. Programs of the version
 * before may have written it a moment ago, or days: where its layout has changed since, both are understood here, out of a
 * second map that is the former version's (docs/decisions/0111).
 */
#ifndef LOAM_STORED_H
#define LOAM_STORED_H

#include "address.h"
#include "maps.h"
#include "shares.h"

static __always_inline bool store(void *map, void *sk, const struct address *value)
{
	struct address *stored = bpf_sk_storage_get(map, sk, 0, BPF_SK_STORAGE_GET_F_CREATE);

	if (!stored)
		return false;
	*stored = *value;
	return true;
}

/* The destination that the socket's application asked for, or null. */
static __always_inline struct address *dialled_by(struct bpf_sock *sk)
{
	return bpf_sk_storage_get(&dialled, sk, 0, 0);
}

/* Remembers the destination on the socket; for MPTCP also on the parent, which getpeername() asks. */
static __always_inline bool remember_dialled(struct bpf_sock *sk, const struct address *to)
{
	struct mptcp_sock *parent = bpf_skc_to_mptcp_sock(sk);

	return store(&dialled, sk, to) && (!parent || store(&dialled, parent, to));
}

/* A socket that dialled elsewhere before, and now goes where it is told: no peer may be made up for it. */
static __always_inline void forget_dialled(struct bpf_sock *sk)
{
	struct mptcp_sock *parent = bpf_skc_to_mptcp_sock(sk);

	bpf_sk_storage_delete(&dialled, sk);
	if (parent)
		bpf_sk_storage_delete(&dialled, parent);
}

/* The client on whose behalf ztunnel connected to this socket, or null. */
static __always_inline struct address *true_peer_of(struct bpf_sock *sk)
{
	return bpf_sk_storage_get(&true_peer, sk, 0, 0);
}

static __always_inline bool remember_true_peer(struct bpf_sock *sk, const struct address *peer)
{
	return store(&true_peer, sk, peer);
}

/* The pod's number of records of a kind, or null. The address is worked out once, where the verifier sees the bound. */
static __always_inline __u64 *outstanding(struct pod_use *use, __u32 kind)
{
	kind = field(kind);
	return use && kind < RECORD_KINDS ? &use->outstanding[kind] : NULL;
}

/* False: there is none. */
static __always_inline bool find_record(const struct tuple *key, struct record *out)
{
	struct record *found = bpf_map_lookup_elem(&records, key);

	if (!found)
		return false;
	*out = *found;
	return true;
}

/* Removes a record that was found, and what counts it. False: somebody else was quicker. */
static __always_inline bool remove_record(const struct tuple *key, __u32 kind)
{
	__u64 *number;

	if (bpf_map_delete_elem(&records, key))
		return false;
	count_record(-1);
	number = outstanding(bpf_map_lookup_elem(&pod_uses, &key->netns), kind);
	if (number)
		__sync_fetch_and_add(number, -1);
	return true;
}

#endif
