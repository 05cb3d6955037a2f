/**
 * What an agent tells of the connections of observed pods, as one JSON object a line, on its status socket at `GET /observe`
 * (decision 0171). Who reads it passes over kinds and fields that it does not know. The node's ztunnel reads it and knows names.
 */

/** Counted up when a reader of the former version would read something wrongly. */
export const OBSERVE_SCHEMA = 1;

/** Why a connection could not be made, or was cut. `given-up`: its own application closed it before it was open. */
export type ObservedReason = 'refused' | 'timed-out' | 'unreachable' | 'reset' | 'given-up' | 'other';

/** An observed pod. */
export interface ObservedPodFacts {
  readonly uid: string;
  readonly namespace: string;
  readonly name: string;
  readonly account: string;
}

/** One connection as it is now; all figures since its beginning. */
export interface ObservedFlow {
  /** Of its socket, never used twice while the node runs. */
  readonly id: string;
  /** Uid of the pod. */
  readonly pod: string;
  /** `source`: this pod dialled. */
  readonly side: 'source' | 'destination';
  readonly local: { readonly ip: string; readonly port: number };
  readonly remote: { readonly ip: string; readonly port: number };
  /** `failed`: it never was open. */
  readonly state: 'connecting' | 'open' | 'closed' | 'failed';
  /** When it began, and when it ended, in ms since the epoch. */
  readonly at: number;
  readonly endedAt?: number;
  /** From SYN to established; of one that this pod dialled. */
  readonly connectMs?: number;
  /** Bytes of the application. */
  readonly sent: number;
  readonly received: number;
  /** Smoothed, and the least; absent: not measured. */
  readonly rttMs?: number;
  readonly rttMinMs?: number;
  /** Segments that were sent again, SYNs among them. */
  readonly retransmits: number;
  /** Segments that were sent. */
  readonly segments: number;
  /** Of one that failed, or was cut. */
  readonly reason?: ObservedReason;
  /** Errno by name, where the kernel says one. */
  readonly error?: string;
}

export interface ObserveHello {
  readonly kind: 'hello';
  readonly schema: number;
  readonly node: string;
}

/** Comes every second. */
export interface ObserveBatch {
  readonly kind: 'batch';
  readonly at: number;
  /** The first of a stream: all connections that are open, of which a reader may have heard before. */
  readonly first: boolean;
  /** Of the flows below. */
  readonly pods: readonly ObservedPodFacts[];
  readonly flows: readonly ObservedFlow[];
  /** Connections that could not be kept account of since the batch before. */
  readonly missed: number;
}

export type ObserveLine = ObserveHello | ObserveBatch;
