/** What the agent holds of one pod that belongs in the mesh. The truth about its enrolment is the kernel's. */
import { Backoff } from '../lib/backoff.ts';
import type { OpenNetns, UncoveredProcess } from './node-port.ts';
import type { PodSpec } from './pod-source.ts';
import type { Guard, Listeners } from './redirection-port.ts';
import type { Handover, Workload } from './zds/workload.ts';

/** Waits between attempts to bring a pod that failed into order. */
const RETRY = { initialMs: 100, maxMs: 2000 };

/**
 * - `waiting`: not enrolled; `problem` says why
 * - `claimed`: enrolled as far as the agent knows, but the kernel does not show all of it
 * - `verified`: read from the kernel in the last pass
 * - `leaving`: on its way out by its label: plain networking, except that its peers, who learn of it later, still reach it by HBONE
 */
export type PodState = 'waiting' | 'claimed' | 'verified' | 'leaving';

export interface PodProblem {
  readonly code: string;
  readonly message: string;
}

export interface PodRecord {
  spec: PodSpec;
  netns: OpenNetns | undefined;
  listeners: Listeners | undefined;
  /** The listeners that this process put into the kernel's socket map; undefined: those there are another's. */
  steeredTo: Listeners | undefined;
  /** The listeners that this process put there last, whatever has become of them. */
  given: Listeners | undefined;
  /** Its connections go to listeners of an agent before this process, until a proxy has ours. */
  adopted: boolean;
  /** Counts namespaces and sets of listeners, for the hand-over. */
  generation: number;
  state: PodState;
  /** When `state` became what it is, in ms since the epoch. */
  since: number;
  problem: PodProblem | undefined;
  /** The problem that was logged last, so that it is not logged in every pass. */
  logged: string | undefined;
  uncovered: readonly UncoveredProcess[];
  /** What stood guard over it in the last pass; undefined: nothing. */
  guard: Guard | undefined;
  /** Since when it is on its way out, in ms since the epoch; undefined: it is not. */
  leaving: number | undefined;
  /** Nothing is tried before, in ms since the epoch. */
  retryAt: number;
  readonly backoff: Backoff;
}

export function newRecord(spec: PodSpec, now: number): PodRecord {
  return {
    spec,
    netns: undefined,
    listeners: undefined,
    steeredTo: undefined,
    given: undefined,
    adopted: false,
    generation: 0,
    state: 'waiting',
    since: now,
    problem: undefined,
    logged: undefined,
    uncovered: [],
    guard: undefined,
    leaving: undefined,
    retryAt: 0,
    backoff: new Backoff(RETRY),
  };
}

export function podName({ namespace, name }: PodSpec): string {
  return `${namespace}/${name}`;
}

/** What node proxies are to have: the pods that can be handed over, and the names of those that belong in the mesh and cannot now. */
export function handoverOf(records: ReadonlyMap<string, PodRecord>, released: ReadonlySet<string>): Handover {
  const workloads = new Map<string, Workload>();
  const keep = new Set<string>();
  for (const [uid, { spec, netns, listeners, generation }] of records) {
    if (netns === undefined || listeners === undefined) {
      keep.add(uid);
      continue;
    }
    const { name, namespace, serviceAccount, ips } = spec;
    workloads.set(uid, {
      uid,
      name,
      namespace,
      serviceAccount,
      ips,
      netnsFd: netns.fd,
      listeners,
      generation,
    });
  }
  return { workloads, keep, released };
}
