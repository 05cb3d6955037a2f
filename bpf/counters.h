/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/* What the programs did, summed over all pods of the instance. The order is that of COUNTERS in layout.ts. */
#ifndef LOAM_COUNTERS_H
#define LOAM_COUNTERS_H

#include "types.h"
#include <bpf/bpf_helpers.h>

enum counter {
	/* connect */
	CAPTURED,
	OWN_CONNECTS,
	LOOPBACK_CONNECTS,
	REFUSED_FAMILY,
	REFUSED_SCOPE,
	REFUSED_DEVICE,
	REFUSED_CAP,
	REFUSED_STORAGE,
	REFUSED_ENTRY,
	REFUSED_ROUTE,
	OFF_CONNECTS,
	/* sockops */
	RECORDED,
	RECORD_CAP,
	RECORDS_FULL,
	CONSUMED,
	WITHDRAWN,
	CONSUME_STORAGE_FAILED,
	PROBED,
	PROBES_FULL,
	/* sk_lookup */
	STEERED_OUTBOUND,
	STEERED_PLAINTEXT,
	STEERED_HBONE,
	PASSED_LOOPBACK,
	PASSED_TO_APPLICATION,
	PASSED_OFF,
	PASSED_PROBE,
	DROPPED_NO_LISTENER,
	DROPPED_NO_RECORD,
	DROPPED_STALE,
	DROPPED_MAPPED,
	DROPPED_LISTENER_PORT,
	COUNTERS,
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, COUNTERS);
	__type(key, __u32);
	__type(value, __u64);
} counters SEC(".maps");

static __always_inline void count(__u32 which)
{
	__u64 *value = bpf_map_lookup_elem(&counters, &which);

	/* Atomic, since process context and softirq of one CPU both come here. */
	if (value)
		__sync_fetch_and_add(value, 1);
}

#endif
