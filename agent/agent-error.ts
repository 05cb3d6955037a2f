import { LoamError } from '../lib/loam-error.ts';

export type AgentErrorCode =
  /** Two desired pods name the same network namespace. */
  | 'NETNS_SHARED'
  /** A pod's network namespace file is not there, or no longer refers to one. */
  | 'NETNS_MISSING'
  /** The namespace's file is gone, but processes still live in it. */
  | 'NETNS_LINGERS'
  /** The kernel does not show what was just written. */
  | 'NOT_VERIFIED'
  /** A pod without an IPv4 address: IPv6 comes later. */
  | 'NO_IPV4'
  /** A node proxy broke the ZDS protocol. */
  | 'ZDS_PROTOCOL'
  /** A node proxy did not answer in time. */
  | 'ZDS_DEADLINE'
  /** The eBPF part cannot be loaded. */
  | 'REDIRECTION';

/** Every failure that the agent itself raises; those of the kernel come as causes. */
export class AgentError extends LoamError<AgentErrorCode> {}
