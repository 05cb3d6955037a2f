// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
/*
 * The programs of an instance at the cgroup root. They run for every socket of the machine, beside those of other
 * instances, and act only on sockets whose network namespace is enrolled with this instance.
 */
#include "connect.h"
#include "peer-name.h"
#include "records.h"

SEC("cgroup/connect4")
int loam_connect4(struct bpf_sock_addr *ctx)
{
	return redirect(ctx, false);
}

SEC("cgroup/connect6")
int loam_connect6(struct bpf_sock_addr *ctx)
{
	return redirect(ctx, true);
}

SEC("cgroup/getpeername4")
int loam_peer4(struct bpf_sock_addr *ctx)
{
	return name_peer(ctx, false);
}

SEC("cgroup/getpeername6")
int loam_peer6(struct bpf_sock_addr *ctx)
{
	return name_peer(ctx, true);
}

SEC("sockops")
int loam_sockops(struct bpf_sock_ops *ops)
{
	switch (ops->op) {
	case BPF_SOCK_OPS_TCP_CONNECT_CB:
		publish(ops);
		break;
	case BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB:
		consume(ops);
		break;
	case BPF_SOCK_OPS_STATE_CB:
		if (ops->args[1] == BPF_TCP_CLOSE)
			withdraw(ops);
		break;
	}
	return 1;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
