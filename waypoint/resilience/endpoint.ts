import type { PeakEwma } from './peak-ewma.ts';

/** One place where requests to a backend can go: a workload and the port on it. */
export interface Endpoint {
  /** The workload's uid. */
  readonly uid: string;
  readonly address: string;
  /** Target port. */
  readonly port: number;
  /** Share of the load; 0 gets no new requests, sessions that name it stay. */
  readonly weight: number;
  /** 0 is nearest; a larger one is used only when no smaller one has a usable endpoint. */
  readonly rank: number;
  /** Readiness, as the controller tells it. */
  readonly healthy: boolean;
}

/** What stays the same as long as it is the same endpoint. */
export function endpointKey(endpoint: Pick<Endpoint, 'uid' | 'port'>): string {
  return `${endpoint.port}|${endpoint.uid}`;
}

/** What a cluster remembers of an endpoint, for as long as it is listed or has requests in flight. */
export interface EndpointState {
  readonly key: string;
  endpoint: Endpoint;
  /** False: no longer listed, kept until its requests are over. */
  listed: boolean;
  inFlight: number;
  /** Since when it takes load (slow start), on the monotonic clock; -Infinity: always did. */
  warmSince: number;
  readonly latency: PeakEwma;
  readonly outlier: OutlierState;
  /** Of smooth weighted round robin. */
  turn: number;
}

/** What outlier detection remembers of an endpoint. */
export interface OutlierState {
  errors: number;
  gatewayErrors: number;
  /** Ejections in a row, less one for each interval spent in health since. */
  ejections: number;
  /** Undefined: not ejected. */
  ejectedUntil: number | undefined;
  /** When the last ejection ended, or where its credit for health has been counted up to. */
  healthySince: number;
}
