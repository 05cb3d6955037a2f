import type { Workload } from '../../lib/mesh/state/model.ts';
import type { Source } from '../../lib/mesh/waypoint/request.ts';
import { spiffeUri } from '../../lib/spiffe.ts';
import type { ServiceName, UpstreamEndpoint } from './request-record.ts';

export const UNKNOWN = 'unknown';

/** Istio's standard labels of the two ends (ambient-facts C12), in the order of {@link peerLabelValues}. */
export const PEER_LABELS = [
  'reporter',
  'source_workload',
  'source_canonical_service',
  'source_canonical_revision',
  'source_workload_namespace',
  'source_principal',
  'source_app',
  'source_version',
  'source_cluster',
  'destination_service',
  'destination_service_namespace',
  'destination_service_name',
  'destination_workload',
  'destination_canonical_service',
  'destination_canonical_revision',
  'destination_workload_namespace',
  'destination_principal',
  'destination_app',
  'destination_version',
  'destination_cluster',
] as const;

/** The two ends of a request or connection, as far as they are proven or configured. */
export interface Peers {
  readonly source: Source;
  /** The backend where one was chosen, else what was dialled. */
  readonly service: ServiceName | undefined;
  readonly upstream: UpstreamEndpoint | undefined;
}

/**
 * The values of {@link PEER_LABELS}. Only what a handshake proved or the control plane told comes in: `baggage` and every
 * other header of a client are not looked at.
 */
export function peerLabelValues(peers: Peers): string[] {
  const { source, service, upstream } = peers;
  return [
    'waypoint',
    ...workloadValues(source.workload, source.identity && spiffeUri(source.identity)),
    service?.hostname || UNKNOWN,
    service?.namespace || UNKNOWN,
    service?.name || UNKNOWN,
    ...workloadValues(upstream?.workload, upstream?.identity),
  ];
}

/** The values where nothing is known but the reporter. */
export function unknownPeers(): string[] {
  return ['waypoint', ...PEER_LABELS.slice(1).map(() => UNKNOWN)];
}

/** `mutual_tls` only where a client certificate proved the source. */
export function securityPolicy(source: Source): string {
  return source.identity === undefined ? UNKNOWN : 'mutual_tls';
}

function workloadValues(workload: Workload | undefined, identity: string | undefined): string[] {
  return [
    workload?.workloadName || UNKNOWN,
    workload?.canonicalName || UNKNOWN,
    workload?.canonicalRevision || UNKNOWN,
    workload?.namespace || UNKNOWN,
    identity || UNKNOWN,
    // Istio fills app and version with the canonical pair where the proxy has no labels to read.
    workload?.canonicalName || UNKNOWN,
    workload?.canonicalRevision || UNKNOWN,
    workload?.clusterId || UNKNOWN,
  ];
}
