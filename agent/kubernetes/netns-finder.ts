/**
 * The network namespaces of pods, found without the runtime: by a process of the pod's cgroup. Each is held by a
 * descriptor, so that no path to it ends with a process or leads to whoever gets that process's id next.
 */
import { closeFd } from '../../lib/linux/libc.ts';
import { netnsInode, openNetns, sameNetns, type NetnsInode } from '../../lib/linux/netns.ts';
import type { PodProcess, ProcessTable } from './process-table.ts';

/** What is known of a pod's namespace. */
export interface FoundNetns {
  /** Leads to the namespace for as long as it is held. */
  readonly path: string;
  readonly inode: NetnsInode;
  /** Whether a process of the pod was in it when somebody looked last. */
  readonly inhabited: boolean;
}

interface Held {
  readonly fd: number;
  readonly inode: NetnsInode;
  /** The path by which it was told of before any process was in it. */
  readonly adopted?: string;
  /** The process that shows that the pod is in there still; undefined: none was found. */
  witness: PodProcess | undefined;
}

export interface NetnsFinderOptions {
  readonly table: ProcessTable;
  /** The namespaces of the node itself, which are no pod's. */
  readonly ofNode: readonly NetnsInode[];
}

export class NetnsFinder {
  readonly #table: ProcessTable;
  readonly #ofNode: readonly NetnsInode[];
  readonly #held = new Map<string, Held>();
  readonly #processes = new Map<string, readonly PodProcess[]>();

  constructor({ table, ofNode }: NetnsFinderOptions) {
    this.#table = table;
    this.#ofNode = ofNode;
  }

  /** As of the last look; undefined: none was found. */
  of(pod: string): FoundNetns | undefined {
    const held = this.#held.get(pod);
    if (held === undefined) return undefined;
    const { fd, inode, witness } = held;
    return { path: `/proc/self/fd/${fd}`, inode, inhabited: witness !== undefined };
  }

  /** The processes that the last pass found of a pod, the oldest first. */
  processesOf(pod: string): readonly PodProcess[] {
    return this.#processes.get(pod) ?? [];
  }

  /**
   * Sees that what is known of these pods is so still, and lets go of all others.
   *
   * @param pods uids, as the cgroups have them; with each the process of its sandbox where the runtime told it, which is
   *   believed as far as its cgroup says the same
   * @param search whether a pass over all processes may be made for those that are not known, or whose process has ended
   * @returns whether there are such pods now
   */
  look(pods: ReadonlyMap<string, number | undefined>, search: boolean): boolean {
    for (const pod of [...this.#held.keys()]) if (!pods.has(pod)) this.forget(pod);
    for (const pod of this.#processes.keys()) if (!pods.has(pod)) this.#processes.delete(pod);
    for (const [pod, pid] of pods) this.#follow(pod, pid);
    const unsure = new Set([...pods.keys()].filter((pod) => !this.#isSure(this.#held.get(pod))));
    if (unsure.size === 0 || !search) return unsure.size > 0;
    const found = this.#table.scan(unsure);
    for (const pod of unsure) {
      const processes = found.get(pod) ?? [];
      this.#processes.set(pod, processes);
      this.#settle(pod, processes);
    }
    return [...unsure].some((pod) => this.#held.get(pod)?.witness === undefined);
  }

  /**
   * Takes a pod's namespace by the path that its network plugin was told, before any process of the pod is in it. Processes
   * that are found later count for more.
   */
  adopt(pod: string, path: string): void {
    const held = this.#held.get(pod);
    if (held?.witness !== undefined || held?.adopted === path) return;
    let fd: number;
    try {
      fd = openNetns(path);
    } catch {
      return; // its pod has gone meanwhile
    }
    const inode = netnsInode(fd);
    if (this.#isOfNode(inode)) return closeFd(fd);
    if (held !== undefined) closeFd(held.fd);
    this.#held.set(pod, { fd, inode, witness: undefined, adopted: path });
  }

  /** Lets go of a pod's namespace. */
  forget(pod: string): void {
    const held = this.#held.get(pod);
    if (held !== undefined) closeFd(held.fd);
    this.#held.delete(pod);
  }

  close(): void {
    for (const pod of [...this.#held.keys()]) this.forget(pod);
  }

  #follow(pod: string, sandboxPid: number | undefined): void {
    if (sandboxPid === undefined || this.#held.get(pod)?.witness?.pid === sandboxPid) return;
    const process = this.#table.find(sandboxPid, pod);
    if (process !== undefined) this.#settle(pod, [process]);
  }

  #isSure(held: Held | undefined): boolean {
    const witness = held?.witness;
    if (held === undefined || witness === undefined || !this.#table.isAlive(witness)) return false;
    const now = this.#table.netnsOf(witness.pid);
    return now !== undefined && sameNetns(now, held.inode);
  }

  #settle(pod: string, processes: readonly PodProcess[]): void {
    const held = this.#held.get(pod);
    // A process on its way into the pod is for a moment in the pod's cgroup and still in the node's namespace.
    const inPod = processes.filter(({ netns }) => !this.#isOfNode(netns));
    const still = held && inPod.find(({ netns }) => sameNetns(netns, held.inode));
    if (held !== undefined && still !== undefined) {
      held.witness = still;
      return;
    }
    // The oldest is the sandbox's; a later one may have made a namespace of its own.
    for (const process of inPod) {
      const fd = this.#open(process);
      if (fd === undefined) continue;
      if (held !== undefined) closeFd(held.fd);
      this.#held.set(pod, { fd, inode: process.netns, witness: process });
      return;
    }
    // Nobody is in there now; it stays the pod's until it has another, or the pod ends.
    if (held !== undefined) held.witness = undefined;
  }

  #open(process: PodProcess): number | undefined {
    let fd: number;
    try {
      fd = openNetns(this.#table.netnsPath(process.pid));
    } catch {
      return undefined; // it has ended
    }
    // Was it this process that the file belonged to, and in this namespace?
    if (this.#table.isAlive(process) && sameNetns(netnsInode(fd), process.netns)) return fd;
    closeFd(fd);
    return undefined;
  }

  #isOfNode(netns: NetnsInode): boolean {
    return this.#ofNode.some((own) => sameNetns(own, netns));
  }
}
