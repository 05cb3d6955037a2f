/** What the dashboard's page and the command line show of a mesh; types alone, shared with the page. */

/** What a node of the graph stands for. */
export type NodeKind = 'app' | 'waypoint' | 'outside';

export interface GraphNode {
  /** `namespace/application`, or `outside/ADDRESS`. */
  readonly id: string;
  readonly kind: NodeKind;
  readonly namespace: string;
  readonly name: string;
  readonly versions: readonly string[];
  /** Pods, `namespace/name`. */
  readonly workloads: readonly string[];
  /** Services with these pods, `namespace/name`. */
  readonly services: readonly string[];
  /** Pods that are in the mesh, of all; undefined where that is not known. */
  readonly enrolled?: { readonly of: number; readonly in: number };
  /** Waypoint before its Services, `namespace/name`. */
  readonly waypoint?: string;
  /** What it is asked; absent: nothing. */
  readonly inbound?: Traffic;
}

/** What went between two ends in a time. */
export interface Traffic {
  /** Requests where a waypoint reads them, else connections. */
  readonly of: 'requests' | 'connections';
  /** That ended, in a second. */
  readonly rate: number;
  /** Of those that no rule denied, the share that did not fail, 0 to 1; undefined: there were none. */
  readonly success?: number;
  readonly ended: number;
  readonly failed: number;
  readonly denied: number;
  /** Durations in ms; absent where nothing ended. */
  readonly p50?: number;
  readonly p95?: number;
  readonly p99?: number;
  /** Bytes in a second, from and to the client. */
  readonly up: number;
  readonly down: number;
  /** Connections that are open. */
  readonly active: number;
}

export interface GraphEdge extends Traffic {
  /** Ids of nodes. */
  readonly from: string;
  readonly to: string;
  /** Share of what got through that was mutual TLS, 0 to 1; absent: nothing got through. */
  readonly mtls?: number;
  /** Identities as certificates proved them, client and server. */
  readonly identities: readonly (readonly [client: string, server: string])[];
  /** Waypoints between, `namespace/name`. */
  readonly via: readonly string[];
  /** Services that were dialled. */
  readonly services: readonly string[];
  readonly retries: number;
  readonly codes: Readonly<Record<string, number>>;
  readonly flags: Readonly<Record<string, number>>;
  readonly deniedBy: Readonly<Record<string, number>>;
  readonly allowedBy: Readonly<Record<string, number>>;
  /** Seen in observe mode, beside the path: no mTLS, no policy. Some of it, where both are. */
  readonly observed?: {
    /** Segments that were sent again, by both ends as far as they are observed. */
    readonly retransmits: number;
    /** Round-trip times in ms; absent: none was measured. */
    readonly rtt50?: number;
    readonly rtt95?: number;
  };
}

export interface Graph {
  /** The end of the time that it shows, ms since the epoch. */
  readonly at: number;
  readonly windowMs: number;
  readonly nodes: readonly GraphNode[];
  readonly edges: readonly GraphEdge[];
}

/** One point of a line over time. */
export interface Point {
  readonly at: number;
  readonly rate: number;
  readonly failed: number;
  readonly denied: number;
  readonly p50?: number;
  readonly p95?: number;
}

/** What a rule of a route sent to one backend. */
export interface SplitView {
  /** `HTTPRoute/namespace/name#rule` */
  readonly route: string;
  readonly backend: string;
  readonly ended: number;
  readonly failed: number;
  readonly denied: number;
  readonly retries: number;
  readonly p50?: number;
  readonly p95?: number;
  readonly p99?: number;
  readonly codes: Readonly<Record<string, number>>;
  /** Requests by pod. */
  readonly workloads: Readonly<Record<string, number>>;
}

/** All that the dashboard's page asks for again and again. */
export interface DashboardState {
  readonly graph: Graph;
  readonly splits: readonly SplitView[];
  /** Since when there is something to see; absent: nothing came yet. */
  readonly since?: number;
  readonly historyMs: number;
  readonly stepMs: number;
  readonly producers: readonly {
    readonly name: string;
    readonly connected: boolean;
    readonly problem?: string;
    readonly lostEvents: number;
    readonly lostWindows: number;
  }[];
  readonly problems: readonly { readonly what: string; readonly why: string }[];
}
