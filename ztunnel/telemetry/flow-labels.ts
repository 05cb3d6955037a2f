import type { Service, Workload } from '../../lib/mesh/state/model.ts';
import type { ResponseFlag } from '../../lib/mesh/hbone/proxy-error.ts';

/** What is known of one connection when its metrics are labelled. */
export interface Flow {
  readonly reporter: 'source' | 'destination';
  readonly source: Workload | undefined;
  /**
   * SPIFFE URI as the TLS handshake proved it, never from xDS; what came through a waypoint has the one that the waypoint
   * proved and told, or none when it told none.
   */
  readonly sourceIdentity: string | undefined;
  readonly destination: Workload | undefined;
  readonly destinationIdentity: string | undefined;
  readonly service: Pick<Service, 'hostname' | 'namespace' | 'name'> | undefined;
  readonly mutualTls: boolean;
  /** The waypoint through which it goes, or came; for the log only. */
  readonly via?: string;
  /** The identity that it proved as the peer of an inbound connection: policy was asked about this one. */
  readonly viaIdentity?: string | undefined;
}

/** Label names of the TCP metrics, in Istio's order (ambient-facts C12). */
export const FLOW_LABELS = [
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
  'request_protocol',
  'response_flags',
  'connection_security_policy',
  'source_region',
  'source_zone',
  'destination_region',
  'destination_zone',
] as const;

const UNKNOWN = 'unknown';
const RESPONSE_FLAGS_AT = FLOW_LABELS.indexOf('response_flags');

/** The label values of a flow, in the order of {@link FLOW_LABELS}; `response_flags` is `-`, see {@link withFlag}. */
export function flowLabelValues(flow: Flow): string[] {
  const { source, destination, service } = flow;
  return [
    flow.reporter,
    ...workloadValues(source, flow.sourceIdentity),
    service?.hostname || UNKNOWN,
    service?.namespace || UNKNOWN,
    service?.name || UNKNOWN,
    ...workloadValues(destination, flow.destinationIdentity),
    'tcp',
    '-',
    flow.mutualTls ? 'mutual_tls' : UNKNOWN,
    source?.locality.region || UNKNOWN,
    source?.locality.zone || UNKNOWN,
    destination?.locality.region || UNKNOWN,
    destination?.locality.zone || UNKNOWN,
  ];
}

/** A copy of the values with another response flag. */
export function withFlag(values: readonly string[], flag: ResponseFlag): string[] {
  return values.with(RESPONSE_FLAGS_AT, flag);
}

/** All `unknown` but the reporter: the one label set that takes what goes beyond the bound. */
export function overflowLabelValues(reporter: Flow['reporter']): string[] {
  return flowLabelValues({
    reporter,
    source: undefined,
    sourceIdentity: undefined,
    destination: undefined,
    destinationIdentity: undefined,
    service: undefined,
    mutualTls: false,
  });
}

function workloadValues(workload: Workload | undefined, identity: string | undefined): string[] {
  return [
    workload?.workloadName || UNKNOWN,
    workload?.canonicalName || UNKNOWN,
    workload?.canonicalRevision || UNKNOWN,
    workload?.namespace || UNKNOWN,
    identity ?? UNKNOWN,
    // Istio fills app and version with the canonical pair where the node has no labels to read.
    workload?.canonicalName || UNKNOWN,
    workload?.canonicalRevision || UNKNOWN,
    workload?.clusterId || UNKNOWN,
  ];
}
