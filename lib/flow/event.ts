/**
 * The flow stream (decision 0145): what a ztunnel or a waypoint tells of the connections and requests that it carries, as
 * one JSON object a line, to whoever watches `GET /flows` on its admin port. Who reads it must pass over kinds and fields
 * that it does not know. Times are in ms since the epoch, durations in ms, sizes in bytes.
 *
 * This module holds types alone, and is shared by the programs that tell, the command line and the dashboard's page.
 */

/** Counted up when a reader of the former version would read something wrongly. */
export const FLOW_SCHEMA = 1;

/** Both ends of a flow are told in this form. */
export interface Party {
  /** Address; absent in windows where the workload is known, so that their number is bounded by workloads. */
  readonly ip?: string;
  readonly port?: number;
  /** The pod; absent where the mesh knows none at that address. */
  readonly workload?: string;
  readonly namespace?: string;
  /** What owns the pod (a Deployment), where that is not the pod itself. */
  readonly owner?: string;
  /** Istio's canonical name and revision: of what application it is an instance, and of which version. */
  readonly app?: string;
  readonly version?: string;
  readonly account?: string;
  readonly node?: string;
  /** SPIFFE URI as its certificate proved it; absent in plaintext. */
  readonly identity?: string;
}

/** Which end of a connection the teller stands at; a waypoint stands between. */
export type Side = 'source' | 'destination' | 'waypoint';

/** What was decided, and by what. */
export interface Verdict {
  readonly allowed: boolean;
  /** The policy, `namespace/name`; of a denial for lack of an ALLOW the names of them all, joined by `, `. Absent: no policy applies. */
  readonly policy?: string;
  /** Of a denial. */
  readonly reason?: string;
  /** Policies on trial that match: what they would do. */
  readonly trial?: readonly { readonly policy: string; readonly action: 'allow' | 'deny' }[];
}

/** What is the same for all events of a connection, and for all requests that a window sums up. */
export interface FlowFacts {
  readonly side: Side;
  readonly source: Party;
  readonly destination: Party;
  /** The Service that was dialled, `namespace/name`. */
  readonly service?: string;
  /** Of a request: the Service that a route or the fallback chose in its place. */
  readonly backend?: string;
  /** Of a request: `HTTPRoute/namespace/name#rule`. */
  readonly route?: string;
  /** Whether the teller's leg was mutual TLS. */
  readonly mtls: boolean;
  /** The waypoint through which it goes or came, `namespace/name`. */
  readonly via?: string;
  readonly viaIdentity?: string;
  /** It was seen beside its path, at an end that is not in the mesh (observe mode): no mTLS, no policy. */
  readonly observed?: true;
}

/** First line of each stream. */
export interface Hello {
  readonly kind: 'hello';
  readonly schema: number;
  readonly program: 'ztunnel' | 'waypoint';
  /** Loam's. */
  readonly version: string;
  readonly node: string;
  /** Of a waypoint: `namespace/name`. */
  readonly gateway?: string;
  readonly at: number;
  /** Events that one worker tells in a second at most; the rest is only in the windows, and counted as lost. */
  readonly eventsPerSecond: number;
  /** So often a window comes. */
  readonly windowMs: number;
}

/** The application's side of a connection was admitted and its other leg is being made. */
export interface ConnectionOpened extends FlowFacts {
  readonly kind: 'opened';
  /** Of the connection, within one process. */
  readonly id: number;
  readonly at: number;
  readonly verdict: Verdict;
}

/** A connection ended, or could not be made. */
export interface ConnectionEnded extends FlowFacts {
  readonly kind: 'ended';
  readonly id: number;
  readonly at: number;
  /** Whether it ever was open. */
  readonly opened: boolean;
  readonly durationMs: number;
  /** From the client. */
  readonly up: number;
  /** To the client. */
  readonly down: number;
  readonly verdict: Verdict;
  /** Istio's response flag, see docs/response-flags.md; absent: an ordinary end. */
  readonly flag?: string;
  readonly error?: string;
  /** Of an observed one: segments that its teller's end sent again, and the smoothed round-trip time at its end. */
  readonly retransmits?: number;
  readonly rttMs?: number;
}

/** A request ended, whichever way. */
export interface RequestEnded extends FlowFacts {
  readonly kind: 'request';
  readonly at: number;
  readonly protocol: 'http1' | 'http2' | 'grpc';
  readonly method: string;
  readonly authority: string;
  /** Without query; cut and escaped. */
  readonly path: string;
  /** 0: the client got no response. */
  readonly status: number;
  readonly grpcStatus?: number;
  readonly flags?: readonly string[];
  readonly durationMs: number;
  readonly upstreamMs?: number;
  readonly up: number;
  readonly down: number;
  /** Tries upstream. */
  readonly attempts: number;
  readonly fallback?: true;
  readonly verdict: Verdict;
  readonly error?: string;
  readonly requestId: string;
  readonly trace?: string;
}

export type FlowEvent = ConnectionOpened | ConnectionEnded | RequestEnded;

/** How long things took: pairs of a bucket's number and its count, one after the other; see histogram.ts. */
export type Durations = readonly number[];

/** All that happened between two ends in one window, exactly; nothing is ever left out of it. */
export interface EdgeWindow extends FlowFacts {
  readonly layer: 'connection' | 'request';
  /** Connections or requests that ended, those that were denied or failed included. */
  readonly ended: number;
  /** Connections that were opened in it. */
  readonly opened: number;
  /** Connections that are open at its end. */
  readonly active: number;
  readonly up: number;
  readonly down: number;
  /** Ended ones that were refused or cut by a rule, by the policy's name; the empty name: by none that has one. */
  readonly denied?: Readonly<Record<string, number>>;
  /** Those that a policy let in, by its name. */
  readonly allowed?: Readonly<Record<string, number>>;
  /** Ended ones by response flag. */
  readonly flags?: Readonly<Record<string, number>>;
  /** Requests by status that the client got; gRPC's as `grpc-N`. */
  readonly codes?: Readonly<Record<string, number>>;
  /** Ended ones that failed, for another reason than a rule: no connection, 5xx, no response. */
  readonly failed: number;
  /** Tries beyond the first. */
  readonly retries: number;
  /** Of those that were neither denied nor failed to begin. */
  readonly durations: Durations;
  /** Of observed connections: segments that the teller's end sent again, and round-trip times as they were seen. */
  readonly retransmits?: number;
  readonly rtt?: Durations;
}

export interface FlowWindow {
  readonly kind: 'window';
  /** Its end. */
  readonly at: number;
  readonly ms: number;
  readonly edges: readonly EdgeWindow[];
  /** How many edges had to be summed up as one of unknown ends, for lack of room. */
  readonly overflow: number;
}

/** Events were not told: `rate`: more than the worker tells in a second; `reader`: this reader was too slow. */
export interface Lost {
  readonly kind: 'lost';
  readonly at: number;
  readonly why: 'rate' | 'reader';
  readonly events: number;
  readonly windows: number;
}

/** Another process takes over here: this one still tells of what it serves to its end. Ask anew for the other. */
export interface Leaving {
  readonly kind: 'leaving';
  readonly at: number;
}

export type FlowRecord = Hello | FlowEvent | FlowWindow | Lost | Leaving;

/** What a stream can be asked for with `?events=`: nothing but windows, what was denied or failed, or all. */
export type EventsWanted = 'none' | 'notable' | 'all';

/** Whether something went otherwise than its client wished. */
export function isNotable(event: FlowEvent): boolean {
  if (!event.verdict.allowed || (event.verdict.trial?.length ?? 0) > 0) return true;
  switch (event.kind) {
    case 'opened':
      return false;
    case 'ended':
      return event.flag !== undefined || event.error !== undefined;
    case 'request':
      return event.status === 0 || event.status >= 500 || (event.flags?.length ?? 0) > 0;
  }
}
