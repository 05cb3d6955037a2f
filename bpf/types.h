/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * The layout that the programs and user space share: lib/linux/bpf/layout.ts mirrors it byte for byte, and
 * instance-layout.ts has the version of each map. No structure has implicit padding: keys are compared
 * as bytes, and padding would hold whatever was on the stack.
 */
#ifndef LOAM_TYPES_H
#define LOAM_TYPES_H

#include "vmlinux.h"

/* An IP address and port. IPv4 is kept as ::ffff:a.b.c.d, so that one form serves both families. */
struct address {
	__be32 ip[4];
	__be16 port;
	__u16 zero;
};

/* What a pod has by itself, one of each family at most; zero: none. */
struct own_addresses {
	__be32 v4;
	__be32 v6[4];
};

/* An enrolled pod, keyed by its netns cookie. Its presence here is what switches redirection on. */
struct pod {
	__u64 generation; /* of this enrolment: an entry of an earlier one is not valid */
	struct own_addresses own;
	__u32 cap; /* most connections of each direction that may be under way to our listeners */
	__u16 port_low; /* rewritten destination ports are spread from here … */
	__u16 port_count; /* … over so many */
	__u32 device_v4; /* index of the interface that has own.v4 */
	__u32 device_v6;
	__u32 zero;
};

/* A destination within a pod: how many of the bits that follow are meant, then the netns cookie, then an IPv6 prefix. */
struct route_key {
	__u32 bits;
	__u32 netns[2]; /* lower half first; a __u64 would be aligned, and leave a gap that is compared too */
	__be32 ip[4];
};

/* What a recorded connection is, and so what sk_lookup does with it. */
enum record_kind {
	RECORD_OUTBOUND = 0, /* the application's, redirected: to the outbound listener */
	RECORD_TO_APPLICATION = 1, /* ztunnel's, to the application: passes */
	RECORD_HAIRPIN = 2, /* ztunnel's, from the pod to an address of the same pod: as if from outside */
};
#define RECORD_KINDS 3

/*
 * A connection between connect() and the accepted socket, both ends being in one netns. The netns cookie is never
 * used twice while the machine runs, so that no later owner of an address meets an earlier one's entry.
 */
struct tuple {
	__u64 netns;
	__be32 source[4];
	__be32 destination[4];
	__u16 source_port; /* host byte order, both */
	__u16 destination_port;
	__u32 zero;
};

struct record {
	__u64 generation;
	__u64 socket; /* cookie of the connecting socket: only it may withdraw the record */
	__u64 since; /* bpf_ktime_get_ns */
	__u32 kind;
	struct address address; /* original destination, or true peer; by kind */
};

/* Records a pod has under way, by kind, and connections it was refused for it. */
struct pod_use {
	__u64 outstanding[RECORD_KINDS];
	__u64 refused_cap;
	__u64 refused_full;
};

/* Storage of ztunnel's and the agent's own sockets, written by user space alone. */
struct own_socket {
	struct address true_peer; /* what the application shall see; port and address zero: nothing */
	__u32 flags;
};
#define OWN_SOCKET_TRUE_PEER 1 /* a connection to the application of this pod on behalf of true_peer */

/*
 * The kubelet, as user space finds it: by its id in its own pid namespace, whichever namespace the agent is in, and by
 * when it began, so that no later process of that id is taken for it. Keyed by the cookie of the netns that it dials from.
 */
struct kubelet {
	__u64 start; /* in hundredths of a second since the machine started, as in /proc/PID/stat */
	__u32 pid;
	__u32 pid_namespace; /* inode */
};

/* A connection of the kubelet, from the SYN until it closes: to whom it is, sk_lookup there asks. */
struct probe_key {
	__be32 source[4];
	__be32 destination[4];
	__u16 source_port; /* host byte order, both */
	__u16 destination_port;
};

struct probe {
	__u64 socket; /* cookie: only this socket's end ends it */
	__u64 since; /* bpf_ktime_get_ns */
};

/* The ports at which the kubelet probes a pod, by the pod's own specification: elsewhere it has no business. Zero: none. */
#define PROBE_PORTS 32
struct probe_ports {
	__u16 port[PROBE_PORTS]; /* host byte order */
};

enum listener_role {
	LISTENER_OUTBOUND = 0,
	LISTENER_PLAINTEXT = 1,
	LISTENER_HBONE = 2,
};
#define LISTENER_ROLES 3

struct listener_key {
	__u64 netns;
	__u32 role;
	__u32 zero;
};

#endif
