import type { Endpoint } from '../../lib/mesh/waypoint/backend-endpoints.ts';
import type { PeakEwma } from './peak-ewma.ts';

export type { Endpoint };

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
