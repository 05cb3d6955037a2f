/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * Observe mode: what the program and user space share. lib/linux/bpf/observe-layout.ts mirrors it byte for byte, and has
 * the version of these maps. None of them is shared with redirection but `switched_off`.
 */
#ifndef LOAM_OBSERVE_H
#define LOAM_OBSERVE_H

#include "types.h"
#include <bpf/bpf_helpers.h>

#define MAX_OBSERVED_PODS 1024
#define MAX_OBSERVED_CONNECTIONS 32768

/* An observed pod, keyed by its netns cookie; written by user space alone. */
struct observed_pod {
	__u64 cap; /* most entries of its in `observed_connections` */
	__u64 removed; /* entries of its that user space has taken out */
};

/* The same, as far as the program writes it. */
struct observed_use {
	__u64 inserted; /* entries */
	__u64 refused; /* connections that had no entry: the pod had its share, or the map was full */
};

enum observed_state {
	OBSERVED_CONNECTING = 0,
	OBSERVED_OPEN = 1,
	OBSERVED_OVER = 2, /* nothing of it changes any more; user space takes it out */
};

#define OBSERVED_DIALLED 1 /* by this pod; else it was accepted */
#define OBSERVED_ESTABLISHED 2
#define OBSERVED_FIN_SENT 4 /* and acknowledged: it counts as a byte in the kernel's figures */

/* A connection of an observed pod, keyed by the cookie of its socket. Times are of bpf_ktime_get_ns; 0: not yet. */
struct observed_connection {
	__u64 netns;
	__u64 began;
	__u64 established;
	__u64 ended;
	__u64 changed; /* last time that anything here was written */
	__u64 sent; /* bytes that the other end acknowledged */
	__u64 received;
	__be32 local[4];
	__be32 remote[4];
	__u16 local_port; /* host byte order, both */
	__u16 remote_port;
	__u32 state;
	__u32 flags;
	__u32 srtt_us; /* smoothed round-trip time; 0: none was measured */
	__u32 rtt_min_us;
	__u32 retransmits; /* segments, SYNs among them */
	__u32 segments; /* sent, those sent again as well */
	__u32 error; /* errno of its end; 0: none */
	__u32 last_state; /* of TCP, before it was closed */
	__u32 soft_error; /* errno of a message of ICMP that TCP did not end it for */
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, MAX_OBSERVED_PODS);
	__type(key, __u64);
	__type(value, struct observed_pod);
} observed_pods SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, MAX_OBSERVED_PODS);
	__type(key, __u64);
	__type(value, struct observed_use);
} observed_uses SEC(".maps");

/* User space takes out what is over; while it is away, this fills up, and connections are counted as refused an entry. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, MAX_OBSERVED_CONNECTIONS);
	__type(key, __u64);
	__type(value, struct observed_connection);
} observed_connections SEC(".maps");

/* As in maps.h: the very map of the instance. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, MAX_OBSERVED_PODS + 1);
	__type(key, __u64);
	__type(value, __u64);
} switched_off SEC(".maps");

#endif
