import type { ProcessState } from './managed-process.ts';
import type { PodPhase } from './pod.ts';

/** One of our programs, as its supervisor sees it. */
export type ProgramReport = ProcessState & {
  readonly program: 'controller' | 'agent' | 'ztunnel' | 'waypoint';
  /** Absent for the controller. */
  readonly node?: string;
  /** Of a waypoint: which instance of which Gateway, `namespace/name-0`. */
  readonly instance?: string;
  /** It was replaced, and serves what was open then. */
  readonly replaced?: true;
};

/** The waypoint of one Gateway. */
export interface WaypointReport {
  readonly namespace: string;
  readonly name: string;
  /** The virtual address of its Service. */
  readonly vip: string;
  /** What of its manifest is not followed, or why it does not run. */
  readonly problems: readonly string[];
  readonly instances: readonly {
    readonly name: string;
    readonly index: number;
    readonly node: string;
    /** The primary of `ips`. */
    readonly ip: string;
    readonly ips: readonly string[];
    readonly netns: string;
  }[];
}

export interface PodReport {
  readonly namespace: string;
  readonly name: string;
  readonly node: string;
  readonly serviceAccount: string;
  readonly uid: string;
  /** The primary of `ips`. */
  readonly ip: string;
  readonly ips: readonly string[];
  readonly netns: string;
  /** The process whose namespaces `exec` enters; absent while the pod has none. */
  readonly initPid?: number;
  readonly phase: PodPhase;
  readonly ready: boolean;
  readonly wantsEnrolment: boolean;
  readonly containers: readonly (ProcessState & { readonly name: string })[];
}

/** What the supervisor of a mesh answers on its control socket (`GET /report`). */
export interface SupervisorReport {
  readonly mesh: string;
  readonly manifests: string;
  readonly addresses: string;
  readonly supervisorPid: number;
  /** The generation of the controller's objects whose pods were all started; absent before the first. */
  readonly generation?: number;
  /** Why pods cannot be made, or nobody told of them, such as a full disk. */
  readonly problem?: string;
  readonly programs: readonly ProgramReport[];
  readonly nodes: readonly { readonly name: string; readonly netns: string }[];
  readonly pods: readonly PodReport[];
  readonly waypoints: readonly WaypointReport[];
}
