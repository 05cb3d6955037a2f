import type { Base } from './meta.ts';
import type { Selector } from './objects.ts';
import type { TelemetryProvider } from './telemetry.ts';

// Every field and default: docs/egress-policy.md.

export interface EgressService {
  readonly name: string;
  readonly namespace?: string;
}

export interface EgressCidr {
  readonly cidr: string;
  readonly except?: readonly string[];
}

export interface EgressPort {
  readonly port: number;
  readonly endPort?: number;
}

export interface EgressRuleSpec {
  readonly services?: readonly EgressService[];
  readonly serviceAccounts?: readonly string[];
  readonly principals?: readonly string[];
  readonly namespaces?: readonly string[];
  readonly cidrs?: readonly EgressCidr[];
  readonly ports?: readonly EgressPort[];
}

/** loam.dev/v1: what the pods that it selects may call; everything else is refused on their own node. */
export interface EgressPolicy extends Base<'EgressPolicy'> {
  readonly spec: {
    readonly selector?: Selector;
    readonly allow?: readonly EgressRuleSpec[];
  };
}

export const OUTBOUND_TRAFFIC_POLICIES = ['ALLOW_ANY', 'REGISTRY_ONLY'] as const;
export type OutboundTrafficPolicy = (typeof OUTBOUND_TRAFFIC_POLICIES)[number];

/** The one name that a MeshSettings may have. */
export const MESH_SETTINGS_NAME = 'mesh';

/** loam.dev/v1: what counts for the mesh as a whole. */
export interface MeshSettings extends Base<'MeshSettings'> {
  readonly spec: {
    readonly outboundTrafficPolicy?: OutboundTrafficPolicy;
    readonly telemetryProviders?: readonly TelemetryProvider[];
  };
}
