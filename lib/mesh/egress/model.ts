/** What the pods of this node may call, as the controller tells it (proto/loam/egress/v1): plain immutable data. */
import type { Cidr } from '../state/ip.ts';
import type { SideTelemetry } from '../telemetry/model.ts';
import type { Delta, ServiceAccountMatch, TextMatch } from '../state/model.ts';

/** Both ends belong to it. */
export interface PortRange {
  readonly first: number;
  readonly last: number;
}

/** A range of addresses without some parts of it. */
export interface Block {
  readonly cidr: Cidr;
  readonly except: readonly Cidr[];
}

/**
 * Allows what is one of the destinations, on one of the ports. Without destinations: any; without ports: all.
 * `unsupported` says what of it is newer than this version: such a rule allows nothing.
 */
export interface EgressRule {
  /** Keys, `namespace/hostname`. */
  readonly services: readonly string[];
  readonly serviceAccounts: readonly ServiceAccountMatch[];
  readonly principals: readonly TextMatch[];
  readonly namespaces: readonly string[];
  readonly blocks: readonly Block[];
  readonly ports: readonly PortRange[];
  readonly unsupported?: string;
}

export interface EgressPolicy {
  readonly kind: 'policy';
  /** `namespace/name`. */
  readonly key: string;
  /** OR-ed; none at all allows nothing. */
  readonly rules: readonly EgressRule[];
  /** Set when the policy as a whole cannot be understood: it allows nothing. */
  readonly unsupported?: string;
}

/** What counts for the calls of one pod of this node. */
export interface EgressWorkload {
  readonly kind: 'workload';
  readonly uid: string;
  /** Keys of the policies that select it; what any of them allows is allowed. None: no policy restricts it. */
  readonly policies: readonly string[];
  /** What becomes of calls to addresses of which the mesh knows nothing. */
  readonly unknownDestinations: 'allow' | 'refuse';
  /** Set when it cannot be understood: nothing is allowed. */
  readonly unsupported?: string;
}

/** What is told of the connections of one pod of this node; without one, the default. */
export interface PodTelemetry {
  readonly kind: 'telemetry';
  readonly uid: string;
  /** Of connections that it makes. */
  readonly client: SideTelemetry | undefined;
  /** Of connections to it. */
  readonly server: SideTelemetry | undefined;
}

export type EgressResource = EgressPolicy | EgressWorkload | PodTelemetry;
export type EgressDelta = Delta<EgressResource>;

/** The xDS name of a resource. */
export function egressResourceName(resource: EgressResource): string {
  return resource.kind === 'policy' ? `policy/${resource.key}` : `${resource.kind}/${resource.uid}`;
}
