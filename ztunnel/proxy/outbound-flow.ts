import { assertNever } from '../../lib/assert-never.ts';
import { hostPortText, type HostPort } from '../../lib/mesh/hbone/host-port.ts';
import type { Workload } from '../../lib/mesh/state/model.ts';
import type { Upstream } from '../../lib/mesh/outbound/upstream.ts';
import type { Flow } from '../telemetry/flow-labels.ts';
import type { Pod } from './pod.ts';
import type { TrackedConnection } from './tracked-connection.ts';

/** Of a pod that is not a waypoint (ambient-facts C1). */
const HBONE_PORT = 15008;

/** One connection that is being set up. */
export interface Outbound {
  readonly pod: Pod;
  readonly own: Workload;
  readonly connection: TrackedConnection;
  /** The application's own address. */
  readonly client: HostPort;
}

/** What goes to an HBONE port: to the destination itself, or to a waypoint. */
export type Tunnelled = Extract<Upstream, { kind: 'hbone' | 'waypoint' }>;
export type Waypointed = Extract<Upstream, { kind: 'waypoint' }>;

/** Writes down what is known of the connection, now that it is decided where it goes. */
export function describeUpstream(connection: TrackedConnection, pod: Pod, upstream: Upstream): void {
  const flow = unproven(connection.flow);
  connection.hboneAddress = undefined;
  switch (upstream.kind) {
    case 'refused':
      connection.flow = { ...flow, service: upstream.service };
      return;
    case 'passthrough':
      connection.flow = flow;
      return;
    case 'direct':
      connection.flow = { ...flow, destination: upstream.workload, service: upstream.service };
      break;
    case 'hbone':
      connection.flow = {
        ...flow,
        sourceIdentity: pod.identityUri,
        destination: upstream.workload,
        // The pool admits no other peer; with several admissible ones, the first is the workload's own.
        destinationIdentity: upstream.expectedIdentities[0],
        service: upstream.service,
        mutualTls: true,
      };
      break;
    case 'waypoint':
      connection.flow = {
        ...flow,
        sourceIdentity: pod.identityUri,
        // Only the waypoint knows where the connection ends.
        destination: undefined,
        destinationIdentity: upstream.expectedIdentities[0],
        service: upstream.service,
        mutualTls: true,
        via: upstream.waypoint,
      };
      break;
    default:
      assertNever(upstream, 'upstream');
  }
  if (upstream.kind === 'direct') {
    connection.destinationAddress = hostPortText({ ip: upstream.address, port: upstream.targetPort });
    return;
  }
  const { peer, authority } = tunnelEnds(upstream);
  connection.destinationAddress = hostPortText(peer);
  connection.hboneAddress = hostPortText(authority);
}

/** Without what an earlier attempt at it was to prove. */
function unproven(flow: Flow): Flow {
  const { via: _, ...rest } = flow;
  return {
    ...rest,
    sourceIdentity: undefined,
    destination: undefined,
    destinationIdentity: undefined,
    mutualTls: false,
  };
}

/** Where TLS goes, and what the CONNECT names. */
export function tunnelEnds(upstream: Tunnelled): { readonly peer: HostPort; readonly authority: HostPort } {
  const { address } = upstream;
  return upstream.kind === 'waypoint'
    ? { peer: { ip: address, port: upstream.hbonePort }, authority: upstream.authority }
    : {
        peer: { ip: address, port: HBONE_PORT },
        authority: { ip: address, port: upstream.targetPort },
      };
}
