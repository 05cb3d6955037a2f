/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * A later version of the layout than bpf/ has, for tests alone: bpf/build.sh compiles the very programs with this before
 * them. All that may change is another here (docs/decisions/0111): order, size and fields of the structures that user space
 * writes, of records and their keys, and of what is stored with sockets. The former ones are read where they have to be.
 */
#include "vmlinux.h"

/* The structures as they are, under other names. */
#define pod former_pod
#define pod_use former_pod_use
#define tuple former_tuple
#define record former_record
#include "types.h"
#undef pod
#undef pod_use
#undef tuple
#undef record

struct pod {
	__u32 cap;
	__u32 features;
	struct own_addresses own;
	__u32 device_v6;
	__u32 device_v4;
	__u16 port_count;
	__u16 port_low;
	__u64 generation;
	__u64 spare;
};

struct pod_use {
	__u64 spare;
	__u64 refused_full;
	__u64 refused_cap;
	__u64 outstanding[RECORD_KINDS];
};

struct tuple {
	__u64 netns;
	__u16 destination_port;
	__u16 source_port;
	__u32 zero;
	__be32 destination[4];
	__be32 source[4];
};

struct record {
	struct address address;
	__u32 kind;
	__u64 since;
	__u64 socket;
	__u64 spare;
	__u64 generation;
};

#define guard former_guard
#define guard_drops former_guard_drops
#include "guard.h"
#undef guard
#undef guard_drops

struct guard {
	__u32 sources;
	__u32 zero;
	__u64 spare;
	__be32 source[GUARD_SOURCES][4];
};

struct guard_drops {
	__u64 spare;
	__u64 by_reason[GUARD_REASONS];
};

/* The maps, of the structures above; those of socket storage under other names, as they are. */
#define dialled former_dialled
#define true_peer former_true_peer
#include "maps.h"
#undef dialled
#undef true_peer

struct stored_address {
	__u64 since;
	struct address address;
	__u32 zero;
};

struct {
	__uint(type, BPF_MAP_TYPE_SK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct stored_address);
} dialled SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_SK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct stored_address);
} true_peer SEC(".maps");

/* In an instance that never had the former ones, they stay empty. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1);
	__type(key, struct former_tuple);
	__type(value, struct former_record);
} former_records SEC(".maps");

/* In the place of bpf/stored.h. */
#define LOAM_STORED_H
#include "address.h"
#include "shares.h"

static __always_inline bool store(void *map, void *sk, const struct address *value)
{
	struct address *stored = bpf_sk_storage_get(map, sk, 0, BPF_SK_STORAGE_GET_F_CREATE);

	if (!stored)
		return false;
	*stored = *value;
	return true;
}

static __always_inline bool store_dated(void *map, void *sk, const struct address *value)
{
	struct stored_address *stored = bpf_sk_storage_get(map, sk, 0, BPF_SK_STORAGE_GET_F_CREATE);

	if (!stored)
		return false;
	stored->address = *value;
	stored->since = bpf_ktime_get_ns();
	return true;
}

static __always_inline struct address *dialled_by(struct bpf_sock *sk)
{
	struct stored_address *stored = bpf_sk_storage_get(&dialled, sk, 0, 0);

	return stored ? &stored->address : bpf_sk_storage_get(&former_dialled, sk, 0, 0);
}

static __always_inline bool remember_dialled(struct bpf_sock *sk, const struct address *to)
{
	struct mptcp_sock *parent = bpf_skc_to_mptcp_sock(sk);

	return store_dated(&dialled, sk, to) && (!parent || store_dated(&dialled, parent, to));
}

static __always_inline void forget_dialled(struct bpf_sock *sk)
{
	struct mptcp_sock *parent = bpf_skc_to_mptcp_sock(sk);

	bpf_sk_storage_delete(&dialled, sk);
	bpf_sk_storage_delete(&former_dialled, sk);
	if (parent) {
		bpf_sk_storage_delete(&dialled, parent);
		bpf_sk_storage_delete(&former_dialled, parent);
	}
}

static __always_inline struct address *true_peer_of(struct bpf_sock *sk)
{
	struct stored_address *stored = bpf_sk_storage_get(&true_peer, sk, 0, 0);

	return stored ? &stored->address : bpf_sk_storage_get(&former_true_peer, sk, 0, 0);
}

static __always_inline bool remember_true_peer(struct bpf_sock *sk, const struct address *peer)
{
	return store_dated(&true_peer, sk, peer);
}

static __always_inline __u64 *outstanding(struct pod_use *use, __u32 kind)
{
	kind = field(kind);
	return use && kind < RECORD_KINDS ? &use->outstanding[kind] : NULL;
}

static __always_inline void former_key(const struct tuple *key, struct former_tuple *out)
{
	out->netns = key->netns;
	copy_ip(out->source, key->source);
	copy_ip(out->destination, key->destination);
	out->source_port = key->source_port;
	out->destination_port = key->destination_port;
	out->zero = 0;
}

static __always_inline bool find_record(const struct tuple *key, struct record *out)
{
	struct record *found = bpf_map_lookup_elem(&records, key);
	struct former_record *former;
	struct former_tuple before;

	if (found) {
		*out = *found;
		return true;
	}
	former_key(key, &before);
	former = bpf_map_lookup_elem(&former_records, &before);
	if (!former)
		return false;
	out->address = former->address;
	out->kind = former->kind;
	out->since = former->since;
	out->socket = former->socket;
	out->spare = 0;
	out->generation = former->generation;
	return true;
}

/* The former numbers of what is under way were left behind together with the records that they count. */
static __always_inline bool remove_record(const struct tuple *key, __u32 kind)
{
	struct former_tuple before;
	__u64 *number;

	if (bpf_map_delete_elem(&records, key)) {
		former_key(key, &before);
		if (bpf_map_delete_elem(&former_records, &before))
			return false;
		count_record(-1);
		return true;
	}
	count_record(-1);
	number = outstanding(bpf_map_lookup_elem(&pod_uses, &key->netns), kind);
	if (number)
		__sync_fetch_and_add(number, -1);
	return true;
}
