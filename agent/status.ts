/** What the agent shows of itself: made from the state at the moment of asking. */
import { guardMode, type GuardMode } from '../lib/guard-mode.ts';
import { localAddress } from '../lib/linux/socket.ts';
import { errorText } from '../lib/loam-error.ts';
import type { EarlierConnections, EarlierStatus } from './earlier-connections.ts';
import type { KubernetesStatus } from './kubernetes/kubernetes-side.ts';
import { podName, type PodRecord } from './pod-record.ts';
import { observeStatusOf, type ObserveParts, type ObserveStatus } from './observe/observe-status.ts';
import type { LeftAlone, PodSource, SourceProblem } from './pod-source.ts';
import type { Reconciler } from './reconciler.ts';
import type { KernelPod, MapFill, RedirectionPort } from './redirection-port.ts';
import type { ZdsServer } from './zds/server.ts';
import type { HandoverState } from './zds/workload.ts';

export interface Gate {
  readonly name: string;
  readonly ready: boolean;
  /** What is missing; empty when ready. */
  readonly reason: string;
}

export interface Readiness {
  readonly ready: boolean;
  readonly gates: readonly Gate[];
}

export interface PodStatus {
  readonly uid: string;
  readonly pod: string;
  readonly ips: readonly string[];
  /** `verified` is what the kernel showed in the last pass; `claimed`: enrolled, but not all of it shows. */
  readonly state: PodRecord['state'];
  /** When it became so (RFC 3339). */
  readonly since: string;
  /** Since when it has plain networking (`loam off`); absent: it has not by itself, see the node's `off`. */
  readonly off?: string;
  readonly problem?: string;
  readonly problemCode?: string;
  readonly netns: { readonly path?: string; readonly inode?: string; readonly cookie?: string };
  /** Ports of the in-pod listeners; they are reached by steering alone. */
  readonly listeners?: { readonly outbound: number; readonly plaintext: number; readonly hbone: number };
  readonly zds: HandoverState;
  /** Connections from before its enrolment, which go on in plaintext until they are cut; absent: none is left. */
  readonly earlier?: EarlierStatus;
  /** Processes of the pod that redirection does not cover. */
  readonly uncovered: PodRecord['uncovered'];
  /**
   * The guard on the node's side of the pod's interfaces. `on` with `unguarded` interfaces is a guard with gaps, which
   * raw sockets and nested namespaces of the pod can use.
   */
  readonly guard: {
    readonly mode: GuardMode;
    readonly guarded: readonly { readonly name: string; readonly by: string }[];
    readonly unguarded: readonly string[];
    /** Packets dropped, by reason; those of which there were some. */
    readonly dropped: Readonly<Record<string, number>>;
  };
}

export interface Status {
  readonly node: string;
  readonly instance: string;
  readonly cgroup: string;
  readonly pods: readonly PodStatus[];
  readonly source: {
    readonly synced: boolean;
    readonly problems: readonly SourceProblem[];
    /** Pods that their labels would have in the mesh and that cannot be, each with the reason. */
    readonly leftAlone: readonly LeftAlone[];
  };
  /** Since when the whole node is off (`loam off node`); absent: it is not. */
  readonly off?: string;
  /** What is wrong with the whole. */
  readonly problems: readonly string[];
  readonly proxies: ReturnType<ZdsServer['describe']>;
  readonly kernel: Readonly<Record<string, number>> | { readonly error: string };
  /** How full the maps of the kernel part are. */
  readonly maps: Readonly<Record<string, MapFill>>;
  /** What somebody had taken away of the kernel part and was put back, and how often. */
  readonly repairs: Readonly<Record<string, number>>;
  /** Connections from before a pod's enrolment that were cut. */
  readonly earlierCut: number;
  /** Where the pods come from the Kubernetes API. */
  readonly kubernetes?: KubernetesStatus;
  readonly observe: ObserveStatus;
}

export interface StatusParts {
  readonly node: string;
  readonly instance: string;
  readonly source: PodSource;
  readonly reconciler: Reconciler;
  readonly redirection: RedirectionPort;
  readonly zds: ZdsServer;
  readonly earlier: Pick<EarlierConnections, 'of' | 'cut'>;
  readonly kubernetes?: { readonly status: KubernetesStatus } | undefined;
  readonly observe: ObserveParts;
}

export function statusOf(parts: StatusParts): Status {
  const { node, instance, source, reconciler, redirection, zds, earlier, kubernetes, observe } = parts;
  const drops = guardDrops(redirection);
  const off = switchedOff(redirection);
  return {
    node,
    instance,
    cgroup: redirection.cgroupPath,
    pods: [...reconciler.records.values()].map((record) => podStatus(record, parts, drops, off?.pods)),
    source: {
      synced: source.state.synced,
      problems: source.state.problems,
      leftAlone: source.state.leftAlone ?? [],
    },
    ...(off?.node && { off: off.node.toISOString() }),
    problems: reconciler.problems,
    proxies: zds.describe(),
    kernel: kernelStats(redirection),
    maps: { ...fill(redirection), ...fill(observe.port) },
    repairs: reconciler.repairs,
    earlierCut: earlier.cut,
    ...(kubernetes && { kubernetes: kubernetes.status }),
    observe: observeStatusOf(observe),
  };
}

/** Whether the agent does its part. A missing node proxy is no reason to be unready: connections wait for it. */
export function readinessOf({ source, reconciler }: StatusParts): Readiness {
  const gates: Gate[] = [
    gate('pod-source', source.state.synced, source.state.problems[0]?.message ?? 'not read yet'),
    gate('redirection', reconciler.problems.length === 0, reconciler.problems.join('; ')),
    gate('reconciled', reconciler.passes > 0, 'no complete pass yet'),
  ];
  return { ready: gates.every(({ ready }) => ready), gates };
}

function gate(name: string, ready: boolean, reason: string): Gate {
  return { name, ready, reason: ready ? '' : reason };
}

function podStatus(
  record: PodRecord,
  { zds, earlier }: Pick<StatusParts, 'zds' | 'earlier'>,
  drops: ReadonlyMap<bigint, Readonly<Record<string, number>>>,
  offPods: ReadonlyMap<bigint, Date> | undefined,
): PodStatus {
  const { spec, netns, listeners, problem } = record;
  const off = netns && offPods?.get(netns.cookie);
  const before = earlier.of(record);
  return {
    uid: spec.uid,
    pod: podName(spec),
    ips: spec.ips,
    state: record.state,
    since: new Date(record.since).toISOString(),
    ...(off && { off: off.toISOString() }),
    ...(problem === undefined ? {} : { problem: problem.message, problemCode: problem.code }),
    netns: {
      ...(spec.netns === undefined ? {} : { path: spec.netns }),
      ...(netns === undefined ? {} : { inode: String(netns.inode.ino), cookie: String(netns.cookie) }),
    },
    ...(listeners === undefined
      ? {}
      : {
          listeners: {
            outbound: localAddress(listeners.outbound).port,
            plaintext: localAddress(listeners.plaintext).port,
            hbone: localAddress(listeners.hbone).port,
          },
        }),
    zds: zds.stateOf(spec.uid),
    ...(before && { earlier: before }),
    uncovered: record.uncovered,
    guard: {
      mode: guardMode(spec.annotations),
      guarded: (record.guard?.guarded ?? []).map(({ name, by }) => ({ name, by })),
      unguarded: record.guard?.unguarded ?? [],
      dropped: netns === undefined ? {} : (drops.get(netns.cookie) ?? {}),
    },
  };
}

/** Of each guarded pod, the reasons for which something was dropped. */
export function guardDrops(redirection: RedirectionPort): Map<bigint, Readonly<Record<string, number>>> {
  let pods: readonly KernelPod[];
  try {
    pods = redirection.enrolled();
  } catch {
    return new Map(); // The kernel's own part of the status says why.
  }
  return new Map(
    pods.map(({ cookie, guardDrops: drops = {} }) => [
      cookie,
      Object.fromEntries(Object.entries(drops).filter(([, packets]) => packets > 0)),
    ]),
  );
}

function switchedOff(redirection: RedirectionPort): ReturnType<RedirectionPort['switchedOff']> | undefined {
  try {
    return redirection.switchedOff();
  } catch {
    return undefined; // kernelStats shows why the kernel cannot be asked
  }
}

function fill(redirection: Pick<RedirectionPort, 'fill'>): Status['maps'] {
  try {
    return redirection.fill();
  } catch {
    return {}; // kernelStats shows why the kernel cannot be asked
  }
}

function kernelStats(redirection: RedirectionPort): Status['kernel'] {
  try {
    return redirection.stats();
  } catch (error) {
    return { error: errorText(error) };
  }
}
