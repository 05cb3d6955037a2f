/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * The maps of one instance, shared by all its programs. Live state is in plain hash maps whose owners delete:
 * an LRU map would throw out the record of a connection that is just being made.
 */
#ifndef LOAM_MAPS_H
#define LOAM_MAPS_H

#include "guard.h"
#include "types.h"
#include <bpf/bpf_helpers.h>

#define MAX_PODS 1024
#define MAX_RECORDS 65536
#define MAX_ROUTES 16384
#define MAX_PROBES 8192

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, MAX_PODS);
	__type(key, __u64);
	__type(value, struct pod);
} pods SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, MAX_PODS);
	__type(key, __u64);
	__type(value, struct pod_use);
} pod_uses SEC(".maps");

/*
 * Which pods are enrolled, once more, with their generation. Written after `pods` and deleted before it, so that a pod
 * which is in here alone has lost its entry there: it is refused what it dials, in place of being let out as it is.
 */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, MAX_PODS);
	__type(key, __u64);
	__type(value, __u64);
} enrolled SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, MAX_RECORDS);
	__type(key, struct tuple);
	__type(value, struct record);
} records SEC(".maps");

/* How many entries `records` has. Set right by user space after it removed some itself. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
} records_held SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_SOCKHASH);
	__uint(max_entries, MAX_PODS * LISTENER_ROLES);
	__type(key, struct listener_key);
	__type(value, __u64);
} listeners SEC(".maps");

/*
 * Where the pods' IPv6 routes lead, kept up to date by user space: the errno that connect() gives without a mesh, or 0.
 * Nothing found: not known, and so captured, as what has a route.
 */
struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, MAX_ROUTES);
	__type(key, struct route_key);
	__type(value, __u32);
} routes SEC(".maps");

/* Sockets of ours. Only user space that holds the map's descriptor can put one in: no mark, port or uid to copy. */
struct {
	__uint(type, BPF_MAP_TYPE_SK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct own_socket);
} own_sockets SEC(".maps");

/* Of this node; written by user space alone. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 8);
	__type(key, __u64);
	__type(value, struct kubelet);
} kubelets SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, MAX_PROBES);
	__type(key, struct probe_key);
	__type(value, struct probe);
} probes SEC(".maps");

/* By netns cookie; written by user space alone. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, MAX_PODS);
	__type(key, __u64);
	__type(value, struct probe_ports);
} probe_ports SEC(".maps");

/* On a socket of the kubelet's that is about to connect. */
struct {
	__uint(type, BPF_MAP_TYPE_SK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, __u32);
} probing SEC(".maps");

/* On the application's connecting socket: the destination that it asked for. */
struct {
	__uint(type, BPF_MAP_TYPE_SK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct address);
} dialled SEC(".maps");

/* On a socket that our outbound listener accepted: the destination that the application asked for. */
struct {
	__uint(type, BPF_MAP_TYPE_SK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct address);
} original_dst SEC(".maps");

/* On a socket that the application accepted: the client on whose behalf ztunnel connected. */
struct {
	__uint(type, BPF_MAP_TYPE_SK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct address);
} true_peer SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, MAX_PODS);
	__type(key, __u64);
	__type(value, struct guard);
} guards SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, MAX_PODS);
	__type(key, __u64);
	__type(value, struct guard_drops);
} guard_drops SEC(".maps");

/* Since when (milliseconds of the epoch), by netns cookie, or by OFF_NODE: see off.h. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, MAX_PODS + 1);
	__type(key, __u64);
	__type(value, __u64);
} switched_off SEC(".maps");

#endif
