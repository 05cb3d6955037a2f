import type { Problem } from '../local/problems.ts';
import type { Warning } from '../local/warnings.ts';
import type { Edge } from './edges.ts';
import type { DeniedRequests, Requests } from './requests.ts';
import type { SplitView } from './splits.ts';

/** One pod as the demo shows it. */
export interface PodView {
  readonly name: string;
  readonly node: string;
  readonly ip: string;
  /** What the kernel shows: redirected, not, or not as it should be. */
  readonly state: 'in the mesh' | 'outside' | 'not verified';
  readonly ready: boolean;
}

/** One instance of a waypoint. */
export interface WaypointView {
  readonly name: string;
  readonly node: string;
  readonly ready: boolean;
}

/** Something that happened in the mesh, with the time of day. */
export interface EventView {
  readonly at: string;
  readonly text: string;
}

/** All that the demo shows at one moment. */
export interface View {
  readonly mesh: string;
  readonly elapsedMs: number;
  readonly manifests: string;
  readonly pods: readonly PodView[];
  readonly waypoints: readonly WaypointView[];
  readonly edges: readonly Edge[];
  /** Whether an edge begins or ends at a waypoint: its requests are shown for it. */
  readonly isHop: (edge: Edge) => boolean;
  readonly requests: readonly Requests[];
  readonly deniedRequests: readonly DeniedRequests[];
  readonly splits: readonly SplitView[];
  /** Requests per second, lately. */
  readonly requestRateOf: (requests: Requests) => number;
  /** Connections per second on an edge, lately. */
  readonly rateOf: (edge: Edge) => number;
  /** Whether nothing was called on an edge, lately. */
  readonly idle: (edge: Edge) => boolean;
  /** The name by which a person knows a policy. */
  readonly policyName: (policy: string) => string;
  readonly problems: readonly Problem[];
  readonly warnings: readonly Warning[];
  readonly events: readonly EventView[];
}
