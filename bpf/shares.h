/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * How many records a pod may have under way. Its own share (`cap`) is its own whatever others do. Beyond it, it takes part in
 * what is shared for as long as all pods together have few: a crowd that dials faster than ztunnel accepts waits, as it
 * would without a mesh, in place of being refused.
 */
#ifndef LOAM_SHARES_H
#define LOAM_SHARES_H

#include "maps.h"

/* Of all records. With 109 pods that hold their share beside one that holds all of this, `records` is not full. */
#define SHARED_RECORDS 8192

static __always_inline __u64 *all_records(void)
{
	__u32 only = 0;

	return bpf_map_lookup_elem(&records_held, &only);
}

/* @param outstanding what the pod has of one kind */
static __always_inline bool has_room(const struct pod *pod, __u64 outstanding)
{
	__u64 *all;

	/* Signed: should a number ever fall below zero, nobody is refused for it. */
	if ((__s64)outstanding < (__s64)pod->cap)
		return true;
	all = all_records();
	return all && (__s64)*all < SHARED_RECORDS;
}

/* To be called for each record that is added or removed. */
static __always_inline void count_record(__s64 more)
{
	__u64 *all = all_records();

	if (all)
		__sync_fetch_and_add(all, more);
}

#endif
