// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
/*
 * Observe mode: keeps account of the TCP connections of observed pods, and does nothing else. It changes no socket but for
 * the flags by which the kernel tells it of that socket, reads none of what is sent, and never refuses or steers anything.
 */
#include "observe.h"
#include "address.h"

#define NO_NODE 0 /* OFF_NODE of off.h */
#define SOCK_DONE_BIT 2 /* 1 << SOCK_DONE: the other end's FIN was received */
#define EVENTS (BPF_SOCK_OPS_STATE_CB_FLAG | BPF_SOCK_OPS_RTT_CB_FLAG)

static __always_inline bool is_switched_off(void)
{
	__u64 node = NO_NODE;

	return bpf_map_lookup_elem(&switched_off, &node);
}

static __always_inline bool read_ends(struct bpf_sock_ops *ops, struct observed_connection *out)
{
	__u32 family = field(ops->family);
	__u32 local4 = field(ops->local_ip4);
	__u32 remote4 = field(ops->remote_ip4);
	__u32 local6[4], remote6[4];
	__u32 remote_port = field(ops->remote_port);

	local6[0] = field(ops->local_ip6[0]);
	local6[1] = field(ops->local_ip6[1]);
	local6[2] = field(ops->local_ip6[2]);
	local6[3] = field(ops->local_ip6[3]);
	remote6[0] = field(ops->remote_ip6[0]);
	remote6[1] = field(ops->remote_ip6[1]);
	remote6[2] = field(ops->remote_ip6[2]);
	remote6[3] = field(ops->remote_ip6[3]);
	if (family == AF_INET || (family == AF_INET6 && is_mapped(remote6))) {
		set_mapped(out->local, local4);
		set_mapped(out->remote, remote4);
	} else if (family == AF_INET6) {
		copy_ip(out->local, local6);
		copy_ip(out->remote, remote6);
	} else {
		return false;
	}
	out->local_port = field(ops->local_port);
	out->remote_port = bpf_ntohl(remote_port);
	return true;
}

/* What the kernel counts, less what is no byte of the application's: SYN and FIN have a number too. */
static __always_inline void measure(struct bpf_sock_ops *ops, struct observed_connection *connection)
{
	__u64 acked = ops->bytes_acked;
	__u64 received = ops->bytes_received;
	__u32 extra = (connection->flags & OBSERVED_DIALLED) ? 1 : 0;
	struct bpf_sock *socket = ops->sk;
	struct tcp_sock *tcp = socket ? bpf_skc_to_tcp_sock(socket) : NULL;

	if (connection->flags & OBSERVED_FIN_SENT)
		extra += 1;
	connection->sent = acked > extra ? acked - extra : 0;
	connection->srtt_us = field(ops->srtt_us) >> 3;
	connection->rtt_min_us = field(ops->rtt_min);
	connection->retransmits = field(ops->total_retrans);
	connection->segments = field(ops->segs_out);
	if (tcp) {
		struct sock *sk = (struct sock *)tcp;

		if ((sk->__sk_common.skc_flags & SOCK_DONE_BIT) && received > 0)
			received -= 1;
		connection->error = sk->sk_err;
		connection->soft_error = sk->sk_err_soft;
	}
	connection->received = received;
	connection->changed = bpf_ktime_get_ns();
}

/* A new connection of an observed pod. */
static __always_inline void begin(struct bpf_sock_ops *ops, __u32 flags)
{
	struct observed_connection connection = {};
	__u64 cookie = bpf_get_socket_cookie(ops);
	__u64 netns = bpf_get_netns_cookie(ops);
	struct observed_pod *pod = bpf_map_lookup_elem(&observed_pods, &netns);
	struct observed_use *use;

	if (!pod || is_switched_off())
		return;
	use = bpf_map_lookup_elem(&observed_uses, &netns);
	if (!use || !read_ends(ops, &connection) || is_loopback(connection.remote))
		return;
	if ((__s64)(use->inserted - pod->removed) >= (__s64)pod->cap) {
		__sync_fetch_and_add(&use->refused, 1);
		return;
	}
	connection.netns = netns;
	connection.began = bpf_ktime_get_ns();
	connection.changed = connection.began;
	connection.flags = flags;
	if (flags & OBSERVED_ESTABLISHED) {
		connection.established = connection.began;
		connection.state = OBSERVED_OPEN;
	}
	if (bpf_map_update_elem(&observed_connections, &cookie, &connection, BPF_ANY)) {
		__sync_fetch_and_add(&use->refused, 1);
		return;
	}
	__sync_fetch_and_add(&use->inserted, 1);
	/* Together with the flags that others have set. */
	bpf_sock_ops_cb_flags_set(ops, field(ops->bpf_sock_ops_cb_flags) | EVENTS);
}

static __always_inline struct observed_connection *known(struct bpf_sock_ops *ops)
{
	__u64 cookie = bpf_get_socket_cookie(ops);
	struct observed_connection *connection = bpf_map_lookup_elem(&observed_connections, &cookie);

	return connection && connection->state != OBSERVED_OVER ? connection : NULL;
}

static __always_inline void change_state(struct bpf_sock_ops *ops, __u32 before, __u32 now)
{
	struct observed_connection *connection = known(ops);
	bool fin_acknowledged;

	if (!connection)
		return;
	fin_acknowledged = now == BPF_TCP_FIN_WAIT2;
	if (now == BPF_TCP_CLOSE && (before == BPF_TCP_LAST_ACK || before == BPF_TCP_CLOSING))
		fin_acknowledged = true;
	if (fin_acknowledged)
		connection->flags |= OBSERVED_FIN_SENT;
	measure(ops, connection);
	if (now != BPF_TCP_CLOSE)
		return;
	/* Not acknowledged after all: it was cut, and the byte was none of the FIN's. */
	if (connection->error && before == BPF_TCP_LAST_ACK)
		connection->sent += 1;
	connection->last_state = before;
	connection->ended = connection->changed;
	connection->state = OBSERVED_OVER;
}

SEC("sockops")
int loam_observe(struct bpf_sock_ops *ops)
{
	struct observed_connection *connection;

	if (!ops->sk || !field(ops->is_fullsock))
		return 1;
	switch (ops->op) {
	case BPF_SOCK_OPS_TCP_CONNECT_CB:
		begin(ops, OBSERVED_DIALLED);
		break;
	case BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB:
		begin(ops, OBSERVED_ESTABLISHED);
		break;
	case BPF_SOCK_OPS_ACTIVE_ESTABLISHED_CB:
		connection = known(ops);
		if (!connection)
			break;
		connection->flags |= OBSERVED_ESTABLISHED;
		measure(ops, connection);
		connection->established = connection->changed;
		connection->state = OBSERVED_OPEN;
		break;
	case BPF_SOCK_OPS_RTT_CB:
		connection = known(ops);
		if (connection)
			measure(ops, connection);
		break;
	case BPF_SOCK_OPS_STATE_CB:
		change_state(ops, field(ops->args[0]), field(ops->args[1]));
		break;
	}
	return 1;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
