/** What the agent shows of observe mode: in its status, and as metrics of its own part; those of connections are ztunnel's. */
import type { ObservedReason } from '../../lib/observe/record.ts';
import { podName } from '../pod-record.ts';
import type { ObserveFeed } from './observe-feed.ts';
import type { ObserveKeeper } from './observe-keeper.ts';
import type { ObservePort } from './observe-port.ts';

/** The last that is open of a pod, so many. */
const SHOWN = 20;

export interface ObservedPodStatus {
  readonly uid: string;
  readonly pod: string;
  readonly ips: readonly string[];
  /** `observed`: the kernel tells of its connections. */
  readonly state: 'observed' | 'waiting';
  readonly problem?: string;
  readonly cookie?: string;
  /** Connections since the agent began. */
  readonly opened: number;
  readonly closed: number;
  readonly failed: number;
  readonly sent: number;
  readonly received: number;
  readonly retransmits: number;
  /** Failed and cut ones, by reason. */
  readonly reasons: Readonly<Partial<Record<ObservedReason, number>>>;
  /** Open or being made now. */
  readonly live: number;
  /** Some of these. */
  readonly connections: readonly {
    readonly state: string;
    readonly local: string;
    readonly remote: string;
    readonly sent: number;
    readonly received: number;
    readonly rttMs?: number;
    readonly retransmits: number;
  }[];
  /** Connections that were not kept account of, for lack of room. */
  readonly missed: number;
}

export interface ObserveStatus {
  readonly pods: readonly ObservedPodStatus[];
  readonly problems: readonly string[];
}

export interface ObserveParts {
  readonly keeper: Pick<ObserveKeeper, 'pods' | 'problem'>;
  readonly feed: Pick<ObserveFeed, 'liveOf' | 'totalsOf' | 'problem'>;
  readonly port: Pick<ObservePort, 'observed' | 'refused' | 'fill'>;
}

export function observeStatusOf({ keeper, feed, port }: ObserveParts): ObserveStatus {
  const problems = [keeper.problem, feed.problem].filter((each) => each !== undefined);
  if (keeper.pods.size === 0) return { pods: [], problems };
  let inKernel: readonly bigint[] = [];
  let missed: ReadonlyMap<bigint, number> = new Map();
  try {
    inKernel = port.observed();
    missed = port.refused();
  } catch (error) {
    problems.push(error instanceof Error ? error.message : String(error));
  }
  const pods = [...keeper.pods.values()].map(({ spec, cookie, problem }): ObservedPodStatus => {
    const live = feed.liveOf(spec.uid);
    const { reasons, ...totals } = feed.totalsOf(spec.uid);
    return {
      ...{ uid: spec.uid, pod: podName(spec), ips: spec.ips },
      state: cookie !== undefined && inKernel.includes(cookie) ? 'observed' : 'waiting',
      ...(problem !== undefined && { problem }),
      ...(cookie !== undefined && { cookie: String(cookie) }),
      ...totals,
      ...{ reasons, live: live.length },
      connections: live.slice(-SHOWN).map(({ state, local, remote, sent, received, rttMs, retransmits }) => ({
        ...{ state, local: `${local.ip} ${local.port}`, remote: `${remote.ip} ${remote.port}` },
        ...{ sent, received, retransmits },
        ...(rttMs !== undefined && { rttMs }),
      })),
      missed: cookie === undefined ? 0 : (missed.get(cookie) ?? 0),
    };
  });
  return { pods, problems };
}

/** Of the agent's own part, in the text format of Prometheus; nothing on a node without observed pods. */
export function observeMetrics({ pods, problems }: ObserveStatus): string[] {
  if (pods.length === 0 && problems.length === 0) return [];
  const observed = pods.filter(({ state }) => state === 'observed').length;
  return [
    '# HELP loam_observe_pods Pods of the node that are observed, or are to be.',
    '# TYPE loam_observe_pods gauge',
    `loam_observe_pods{state="observed"} ${observed}`,
    `loam_observe_pods{state="waiting"} ${pods.length - observed}`,
    '# HELP loam_observe_missed_connections Connections of observed pods that were not kept account of, for lack of room.',
    '# TYPE loam_observe_missed_connections gauge',
    `loam_observe_missed_connections ${pods.reduce((sum, { missed }) => sum + missed, 0)}`,
    '# HELP loam_observe_ready Whether observe mode works on this node.',
    '# TYPE loam_observe_ready gauge',
    `loam_observe_ready ${problems.length === 0 ? 1 : 0}`,
  ];
}
