/**
 * What the agent needs of the kernel part (lib/linux/bpf), narrow, so that the reconciler can be tested without a
 * kernel. Every call is synchronous and may throw; nothing here remembers what the kernel can tell.
 */
import type { GuardMode } from '../lib/guard-mode.ts';
import type { Kubelet } from '../lib/linux/bpf/index.ts';

/** Descriptors of a pod's in-pod listeners, by what sk_lookup steers to them. */
export interface Listeners {
  readonly outbound: number;
  readonly plaintext: number;
  readonly hbone: number;
}

/** A pod as it is to be enrolled. */
export interface Enrolment {
  readonly netnsFd: number;
  readonly cookie: bigint;
  /** One or two, at most one of each family, the primary first. */
  readonly ips: readonly string[];
  readonly listeners: Listeners;
  readonly guard: GuardMode;
}

/** What stands guard over a pod's packets on the node's side. */
export interface Guard {
  /** The pod's interfaces that are guarded, and how. */
  readonly guarded: readonly { readonly name: string; readonly by: string }[];
  /** Interfaces that lead out of the pod where no guard can stand. */
  readonly unguarded: readonly string[];
  /** Interfaces where it was attached just now: they are new, or somebody had taken it away. */
  readonly attached: readonly string[];
}

/** A pod that the kernel redirects now, whoever enrolled it. */
export interface KernelPod {
  readonly cookie: bigint;
  readonly ips: readonly string[];
  /** Whether the pod's sk_lookup program is attached; 'dead': its namespace is gone. */
  readonly steering: 'attached' | 'missing' | 'dead';
  /** Maps in which it should have an entry and has none: somebody took it away. */
  readonly lacks?: readonly string[];
  /** It was told to leave, by this process or one before it. */
  readonly leaving?: boolean;
  /** Packets that its guard dropped, by reason; undefined: it has none. */
  readonly guardDrops?: Readonly<Record<string, number>>;
}

/** How full a map of the kernel part is. */
export interface MapFill {
  readonly entries: number;
  readonly capacity: number;
}

/** Something that is not as it must be. */
export interface KernelProblem {
  /** The pod that it concerns; undefined: all of them. */
  readonly cookie: bigint | undefined;
  readonly message: string;
}

export interface RedirectionPort {
  readonly ownSocketsMapFd: number;
  readonly originalDstMapFd: number;
  /** The cgroup folder that the programs are attached at. */
  readonly cgroupPath: string;
  /** Switches a pod's redirection on, or puts right what is missing of it; its listeners stand already. */
  enrol(pod: Enrolment): void;
  /**
   * Makes one pod's enrolment that is to come quicker, while this thread works some tens of milliseconds.
   *
   * @returns whether another call would do more
   */
  makeSpare(): boolean;
  /**
   * Attaches what is missing of an enrolled pod's guard, or takes it away for `none`.
   *
   * @returns undefined for `none`
   */
  guard(pod: Pick<Enrolment, 'netnsFd' | 'cookie' | 'ips' | 'guard'>): Guard | undefined;
  /** Lets an enrolled pod's connect() be refused, as without a mesh, where the pod has no IPv6 route now. */
  followRoutes(pod: Pick<Enrolment, 'netnsFd' | 'cookie' | 'ips'>): void;
  /** Puts other listeners in the place of an enrolled pod's: new connections go there from now on. */
  setListeners(cookie: bigint, listeners: Listeners): void;
  /** Plain networking for an enrolled pod's new connections from now on; its peers' tunnels are still taken. */
  leave(cookie: bigint): void;
  /** Takes `leave` back. */
  stay(cookie: bigint): void;
  /**
   * Switches a pod's redirection off and leaves nothing of it in the kernel.
   *
   * @param routes `stay`: but the routes of the private sources, which connections of ztunnel's to the pod still use
   */
  unenrol(cookie: bigint, routes?: 'go' | 'stay'): void;
  enrolled(): readonly KernelPod[];
  /**
   * Puts back what somebody detached or unpinned of the programs and maps that all pods share.
   *
   * @returns what was put back
   */
  repair(): readonly string[];
  verify(): readonly KernelProblem[];
  /** Whose connections pass to the applications of enrolled pods, for its probes; undefined: nobody's. */
  setKubelet(kubelet: Kubelet | undefined): void;
  /** At which ports of an enrolled pod such connections pass; a pod that was given none is not probed at all. */
  setProbePorts(cookie: bigint, ports: readonly number[]): void;
  /** What `loam off` switched off, and since when. */
  switchedOff(): { readonly node: Date | undefined; readonly pods: ReadonlyMap<bigint, Date> };
  /** What the programs did, by counter. */
  stats(): Readonly<Record<string, number>>;
  /** How full the maps are, by name. */
  fill(): Readonly<Record<string, MapFill>>;
  /** Ends this process's part and leaves everything in force. */
  close(): void;
}
