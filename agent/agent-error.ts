import { LoamError } from '../lib/loam-error.ts';

export type AgentErrorCode =
  /** Two desired pods name the same network namespace. */
  | 'NETNS_SHARED'
  /** A pod's network namespace file is not there, or no longer refers to one. */
  | 'NETNS_MISSING'
  /** The namespace is the node's own: of a pod with the host's network, which cannot be told from the node. */
  | 'NETNS_OF_NODE'
  /** The namespace's file is gone, but processes still live in it. */
  | 'NETNS_LINGERS'
  /** A pod without an IPv4 address: IPv6 comes later. */
  | 'NO_IPV4'
  /** A node proxy broke the ZDS protocol. */
  | 'ZDS_PROTOCOL'
  /** A node proxy did not answer in time. */
  | 'ZDS_DEADLINE'
  /** The container runtime broke the protocol of NRI. */
  | 'NRI_PROTOCOL'
  /** The container runtime does not take the agent as its plugin. */
  | 'NRI_REFUSED'
  /** A pod that belongs in the mesh was not enrolled in time, and may not start. */
  | 'NOT_ENROLLED';

/** Every failure that the agent itself raises; those of the kernel come as causes. */
export class AgentError extends LoamError<AgentErrorCode> {}
