/** What the reconciler needs of the machine besides eBPF, narrow, so that it can be tested without one. */
import type { NetnsInode } from '../lib/linux/netns.ts';
import type { Listeners } from './redirection-port.ts';

/** An open network namespace. */
export interface OpenNetns {
  readonly fd: number;
  readonly inode: NetnsInode;
  readonly cookie: bigint;
}

/** A process that lives in a pod's namespace but not below the cgroup that the programs are attached at. */
export interface UncoveredProcess {
  readonly pid: number;
  readonly command: string;
  readonly cgroup: string;
}

/** Who lives in which network namespace, at one moment; keys by {@link netnsKey}. */
export type ProcessCensus = ReadonlyMap<
  string,
  { readonly pids: readonly number[]; readonly uncovered: readonly UncoveredProcess[] }
>;

export interface NodePort {
  /** @throws AgentError NETNS_MISSING when the path leads to no namespace; SystemCallError for anything else */
  openNetns(path: string): OpenNetns;
  /** The namespace that the path leads to now; undefined: none. @throws SystemCallError when it cannot be told */
  inodeAt(path: string): NetnsInode | undefined;
  closeNetns(netns: OpenNetns): void;
  /** All three, or none. */
  listen(netns: OpenNetns): Listeners;
  /** False once one of them was destroyed, as a process with CAP_NET_ADMIN in the pod can do (`ss --kill`). */
  areListening(listeners: Listeners): boolean;
  closeListeners(listeners: Listeners): void;
  /** Whether the addresses are there by which ztunnel reaches the pod's applications over IPv6, if it has IPv6. */
  hasSources(netns: OpenNetns, ips: readonly string[]): boolean;
  /** Whether something goes on over those addresses. */
  usesSources(netns: OpenNetns): boolean;
  /** Takes them away. */
  dropSources(netns: OpenNetns): void;
  census(): ProcessCensus;
}

export function netnsKey(inode: NetnsInode): string {
  return `${inode.dev}:${inode.ino}`;
}
