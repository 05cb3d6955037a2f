/**
 * Redirection by eBPF: what the agent and ztunnel use of it.
 *
 * The agent opens a {@link Redirection} (one live object for each instance name), enrols pods, and gives ztunnel the
 * descriptors `ownSocketsMapFd` and `originalDstMapFd`. ztunnel calls {@link markOwnSocket} on every socket that it
 * makes inside a pod's network namespace, before connect(), and {@link originalDst} on every socket that an outbound
 * listener accepted; undefined there means: reset the connection.
 */
export { BpfError, type BpfErrorCode } from './errors.ts';
export { cgroup2Root } from './cgroup.ts';
export { PROBE_PORTS } from './layout.ts';
export type { Counter, Endpoint, Kubelet, ListenerRole } from './layout.ts';
export { GUARD_REASONS, type GuardDrops, type GuardReason } from './guard-layout.ts';
export type { GuardMethod } from './guard-pins.ts';
export type { GuardRequest, GuardState } from './guard-store.ts';
export { OffSwitches, pinnedInstances, type SwitchedOff } from './off-switches.ts';
export { markOwnSocket, originalDst } from './own-sockets.ts';
export type { Fill } from './instance-maps.ts';
export type { EnrolledPod, PodHandle, PodRequest } from './pod-store.ts';
export { Observer } from './observer.ts';
export type { ObservedConnection } from './observe-layout.ts';
export { Redirection, type OpenOptions, type Problem, type Stats } from './redirection.ts';
