/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * The kubelet's probes of pods on its node, which come in plaintext and without an identity: they pass to the application
 * whatever policy says, and nobody else's connections do. In connect() it is known who dials; when the SYN is about to leave,
 * from which port; and what arrives in a pod under that very tuple is let through, at the ports that this pod itself has
 * probed: another pod's probe may name any host, and the kubelet dials it.
 */
#ifndef LOAM_PROBES_H
#define LOAM_PROBES_H

#include "address.h"
#include "counters.h"
#include "maps.h"

#define TICK_NS 10000000ULL /* of /proc/PID/stat */
#define PROBE_MAX_AGE_NS (300ULL * 1000 * 1000 * 1000)

static __always_inline bool is_current(const struct kubelet *kubelet)
{
	struct task_struct *leader = bpf_get_current_task_btf()->group_leader;
	struct pid *pid = leader->thread_pid;
	struct upid own = {};
	__u32 inode = 0;

	if (leader->start_boottime / TICK_NS != kubelet->start)
		return false;
	/* The last of its ids is the one in its own namespace. */
	if (bpf_probe_read_kernel(&own, sizeof(own), &pid->numbers[pid->level]) || own.nr != (int)kubelet->pid)
		return false;
	if (bpf_probe_read_kernel(&inode, sizeof(inode), &own.ns->ns.inum))
		return false;
	return inode == kubelet->pid_namespace;
}

/* connect() outside of any enrolled pod. */
static __always_inline void note_probe(struct bpf_sock *sk, __u64 netns)
{
	struct kubelet *kubelet = bpf_map_lookup_elem(&kubelets, &netns);

	if (!kubelet || !sk)
		return;
	if (is_current(kubelet))
		bpf_sk_storage_get(&probing, sk, 0, BPF_SK_STORAGE_GET_F_CREATE);
	else
		bpf_sk_storage_delete(&probing, sk);
}

static __always_inline void read_probe(const struct tuple *tuple, struct probe_key *out)
{
	copy_ip(out->source, tuple->source);
	copy_ip(out->destination, tuple->destination);
	out->source_port = tuple->source_port;
	out->destination_port = tuple->destination_port;
}

/* The SYN is about to leave. Where there is no room the probe is as anybody's connection. */
static __always_inline void publish_probe(struct bpf_sock_ops *ops, struct bpf_sock *sk, const struct tuple *tuple)
{
	struct probe probe = {};
	struct probe_key key;

	if (!bpf_sk_storage_get(&probing, sk, 0, 0))
		return;
	read_probe(tuple, &key);
	probe.socket = bpf_get_socket_cookie(ops);
	probe.since = bpf_ktime_get_ns();
	if (bpf_map_update_elem(&probes, &key, &probe, BPF_ANY)) {
		count(PROBES_FULL);
		return;
	}
	bpf_sock_ops_cb_flags_set(ops, field(ops->bpf_sock_ops_cb_flags) | BPF_SOCK_OPS_STATE_CB_FLAG);
	count(PROBED);
}

/* The connection has ended: its port is anybody's now. */
static __always_inline void withdraw_probe(struct bpf_sock_ops *ops, const struct tuple *tuple)
{
	struct probe_key key;
	struct probe *probe;

	read_probe(tuple, &key);
	probe = bpf_map_lookup_elem(&probes, &key);
	if (probe && probe->socket == bpf_get_socket_cookie(ops))
		bpf_map_delete_elem(&probes, &key);
}

static __always_inline bool is_probed(__u64 netns, __u16 port)
{
	struct probe_ports *ports = bpf_map_lookup_elem(&probe_ports, &netns);
	bool found = false;
	__u32 i;

	if (!ports || port == 0)
		return false;
	for (i = 0; i < PROBE_PORTS; i++)
		if (ports->port[i] == port)
			found = true;
	return found;
}

/* @param tuple with the netns of the pod that it arrives in */
static __always_inline bool is_probe(const struct tuple *tuple)
{
	struct probe_key key;
	struct probe *probe;

	read_probe(tuple, &key);
	probe = bpf_map_lookup_elem(&probes, &key);
	return probe && bpf_ktime_get_ns() - probe->since <= PROBE_MAX_AGE_NS &&
	       is_probed(tuple->netns, tuple->destination_port);
}

#endif
