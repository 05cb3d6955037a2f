/**
 * What Loam needs of a kernel, feature by feature. A kernel is judged by trying each, never by its release: vendors
 * take features into older kernels, and build without them. docs/kernels.md is this table for people; a test compares the two,
 * and another compares this with what the prebuilt objects call.
 */

/** How to find out whether a kernel has a feature. */
export type Probe =
  | { readonly kind: 'cgroup2' }
  | { readonly kind: 'type-information' }
  | { readonly kind: 'netns-cookie' }
  | { readonly kind: 'link-detach' }
  /** enum bpf_prog_type. */
  | { readonly kind: 'program'; readonly type: number }
  /** enum bpf_map_type. */
  | { readonly kind: 'map'; readonly type: number }
  /** A program type at one of its hooks: enum bpf_attach_type. */
  | { readonly kind: 'hook'; readonly type: number; readonly attachType: number }
  /** enum bpf_func_id, for one program type. */
  | { readonly kind: 'helper'; readonly type: number; readonly helper: number };

/** One line of the table. */
export interface KernelFeature {
  readonly what: string;
  /** The mainline release that has it first. */
  readonly since: string;
  /** What the kernel must be built with, where that is not a matter of course. */
  readonly config?: string;
  /** What there is no mesh without. */
  readonly why: string;
  readonly probe: Probe;
}

export const PROGRAM_TYPES = { schedCls: 3, sockOps: 13, sockAddr: 18, skLookup: 30 } as const;
const { schedCls, sockOps, sockAddr, skLookup } = PROGRAM_TYPES;

const helper = (type: number, number: number, what: string, since: string, why: string): KernelFeature => ({
  what: `BPF helper ${what}`,
  since,
  why,
  probe: { kind: 'helper', type, helper: number },
});

export const KERNEL_FEATURES: readonly KernelFeature[] = [
  {
    what: 'a mounted cgroup v2 hierarchy',
    since: '4.5',
    config: 'CONFIG_CGROUPS',
    why: 'the hooks of connect() are attached at its root',
    probe: { kind: 'cgroup2' },
  },
  {
    what: "the kernel's type information, /sys/kernel/btf/vmlinux",
    since: '5.4',
    config: 'CONFIG_DEBUG_INFO_BTF',
    why: 'the verifier needs it for helpers that return a kernel structure',
    probe: { kind: 'type-information' },
  },
  {
    what: 'socket option SO_NETNS_COOKIE',
    since: '5.14',
    why: 'the cookie by which programs and agent name a pod',
    probe: { kind: 'netns-cookie' },
  },
  {
    what: 'BPF_LINK_DETACH (and BPF_LINK_UPDATE, 5.7)',
    since: '5.9',
    why: 'programs are replaced without a gap, and ended whoever holds them',
    probe: { kind: 'link-detach' },
  },
  {
    what: 'BPF program type cgroup_sock_addr',
    since: '4.17',
    config: 'CONFIG_CGROUP_BPF',
    why: 'connections are redirected in connect()',
    probe: { kind: 'program', type: sockAddr },
  },
  {
    what: 'BPF program type sock_ops',
    since: '4.13',
    config: 'CONFIG_CGROUP_BPF',
    why: 'the original destination is recorded when the source port is known',
    probe: { kind: 'program', type: sockOps },
  },
  {
    what: 'BPF program type sk_lookup',
    since: '5.9',
    config: 'CONFIG_INET',
    why: 'what arrives at a pod is steered to its listeners',
    probe: { kind: 'program', type: skLookup },
  },
  {
    what: 'hook cgroup/getpeername4',
    since: '5.8',
    why: 'applications see the address that they dialled, and their true client',
    probe: { kind: 'hook', type: sockAddr, attachType: 29 },
  },
  {
    what: 'hook cgroup/getpeername6',
    since: '5.8',
    why: 'the same for IPv6 sockets',
    probe: { kind: 'hook', type: sockAddr, attachType: 30 },
  },
  {
    what: 'BPF map type sockhash',
    since: '4.18',
    config: 'CONFIG_INET',
    why: "a pod's listeners are found in it (TCP listeners since 5.6)",
    probe: { kind: 'map', type: 18 },
  },
  {
    what: 'BPF map type lpm_trie',
    since: '4.11',
    why: 'connect() is refused where the pod has no route (walked from user space since 4.16)',
    probe: { kind: 'map', type: 11 },
  },
  {
    what: 'BPF map type sk_storage',
    since: '5.2',
    why: 'what is known of a connection lives and dies with its socket',
    probe: { kind: 'map', type: 24 },
  },
  helper(sockAddr, 107, 'bpf_sk_storage_get in cgroup_sock_addr', '5.8', 'the original destination'),
  helper(sockAddr, 108, 'bpf_sk_storage_delete in cgroup_sock_addr', '5.8', 'sockets that dial again'),
  helper(sockAddr, 122, 'bpf_get_netns_cookie in cgroup_sock_addr', '5.7', 'whose connection it is'),
  helper(
    sockAddr,
    187,
    'bpf_set_retval in cgroup_sock_addr',
    '5.18',
    'refusals say why: ENOBUFS, ENETUNREACH',
  ),
  helper(sockAddr, 196, 'bpf_skc_to_mptcp_sock in cgroup_sock_addr', '5.19', 'MPTCP sockets know their peer'),
  helper(
    sockAddr,
    113,
    'bpf_probe_read_kernel in cgroup_sock_addr',
    '5.8',
    'the kubelet is known by its process',
  ),
  helper(sockAddr, 158, 'bpf_get_current_task_btf in cgroup_sock_addr', '5.16', 'the same'),
  helper(sockOps, 46, 'bpf_get_socket_cookie in sock_ops', '4.12', 'a record belongs to one socket'),
  helper(sockOps, 59, 'bpf_sock_ops_cb_flags_set in sock_ops', '4.16', 'the end of a connection is heard of'),
  helper(sockOps, 107, 'bpf_sk_storage_get in sock_ops', '5.8', 'the original destination'),
  helper(sockOps, 122, 'bpf_get_netns_cookie in sock_ops', '5.15', 'whose connection it is'),
  helper(sockOps, 137, 'bpf_skc_to_tcp_sock in sock_ops', '5.9', 'why a connection of an observed pod ended'),
  helper(skLookup, 86, 'bpf_sk_release in sk_lookup', '5.9', 'a listener is given back'),
  helper(skLookup, 124, 'bpf_sk_assign in sk_lookup', '5.9', 'a connection is given to a listener'),
  {
    what: 'BPF program type sched_cls',
    since: '4.1',
    config: 'CONFIG_NET_CLS_BPF',
    why: 'the guard at the host side of a pod: by tcx (6.6), else by a clsact filter (CONFIG_NET_SCH_INGRESS)',
    probe: { kind: 'program', type: schedCls },
  },
  helper(schedCls, 26, 'bpf_skb_load_bytes in sched_cls', '4.5', 'the guard reads headers'),
  helper(schedCls, 95, 'bpf_sk_fullsock in sched_cls', '5.1', 'the guard asks the socket that sent a SYN'),
  helper(schedCls, 107, 'bpf_sk_storage_get in sched_cls', '5.2', 'the guard knows sockets of the mesh'),
];
