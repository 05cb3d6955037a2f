/** Where the agent learns which pods its node has: the local mesh's file, or the Kubernetes API. */
import type { Labels } from '../lib/enrolment.ts';

/** A pod of this node, enrolled or not. */
export interface PodSpec {
  readonly uid: string;
  readonly name: string;
  readonly namespace: string;
  readonly serviceAccount: string;
  /** Path of the file of its network namespace; undefined: it is not known. */
  readonly netns: string | undefined;
  /** One or two, at most one of each family, the primary first; in the form of lib/linux/ip.ts. */
  readonly ips: readonly string[];
  readonly labels: Labels;
  /** Those of Loam (`loam.dev/…`). */
  readonly annotations: Readonly<Record<string, string>>;
  readonly namespaceLabels: Labels;
  /** Those at which the kubelet probes it; none by default. */
  readonly probePorts?: readonly number[];
}

/** A pod that its labels would have in the mesh and that cannot be in it. */
export interface LeftAlone {
  readonly uid: string;
  /** `namespace/name` */
  readonly pod: string;
  readonly why: string;
}

/** Something in the source that could not be used. */
export interface SourceProblem {
  /** The file, or the API's address. */
  readonly where: string;
  /** Which entry, where there is one: `pods[2] shop/payments-0`. */
  readonly entry?: string;
  readonly field?: string;
  readonly message: string;
  readonly allowed?: string;
}

export interface SourceState {
  /** False until the source has been read once: nothing may be concluded from a missing pod before. */
  readonly synced: boolean;
  /**
   * False while some entry cannot be used and no earlier state of its pod is known: a pod that is enrolled but not
   * listed may be that one.
   */
  readonly complete: boolean;
  /** By uid. Of a pod whose newest entry is unusable, the last good one. */
  readonly pods: ReadonlyMap<string, PodSpec>;
  readonly problems: readonly SourceProblem[];
  readonly leftAlone?: readonly LeftAlone[];
}

export interface PodSource {
  readonly state: SourceState;
  /** Begins to watch; `onChange` is called, from the event loop, whenever `state` has changed. */
  start(onChange: () => void): void;
  close(): void;
}

/** One line for a log or a terminal. */
export function problemText(problem: SourceProblem): string {
  const place = [problem.where, problem.entry, problem.field].filter((part) => part !== undefined).join(': ');
  return `${place}: ${problem.message}${problem.allowed === undefined ? '' : `; allowed: ${problem.allowed}`}`;
}
