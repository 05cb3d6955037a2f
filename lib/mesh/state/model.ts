/**
 * What the node knows of the mesh: plain immutable data that crosses from the main thread to the
 * connection worker by structured clone. The fields are those of Istio's workload API (ambient-facts C8);
 * addresses are in the one form of ip.ts.
 */
import type { Identity } from '../../spiffe.ts';
import type { Cidr } from './ip.ts';

export type TunnelProtocol = 'none' | 'hbone' | 'legacy-istio-mtls';
export type AppProtocol = 'unknown' | 'http11' | 'http2' | 'grpc' | 'tcp' | 'tls';
export type WorkloadKind = 'deployment' | 'cronjob' | 'pod' | 'job';
export type RoutingScope = 'region' | 'zone' | 'subzone' | 'node' | 'cluster' | 'network';

export interface NetworkAddress {
  readonly network: string;
  readonly ip: string;
}

/** Where a waypoint or the gateway of another network is found. */
export type GatewayAddress =
  | { readonly by: 'hostname'; readonly service: string; readonly hboneMtlsPort: number }
  | { readonly by: 'address'; readonly address: NetworkAddress; readonly hboneMtlsPort: number };

export interface ServicePort {
  readonly servicePort: number;
  /** 0: each endpoint says its own (a named target port). */
  readonly targetPort: number;
  readonly appProtocol: AppProtocol;
}

/** That a workload serves a service, and on which of its ports. */
export interface Membership {
  /** `namespace/hostname`. */
  readonly service: string;
  readonly ports: readonly ServicePort[];
}

export interface Locality {
  readonly region: string;
  readonly zone: string;
  readonly subzone: string;
}

export interface Workload {
  readonly kind: 'workload';
  /** For example `Kubernetes//Pod/<namespace>/<name>`; the name of the xDS resource. */
  readonly uid: string;
  readonly name: string;
  readonly namespace: string;
  readonly identity: Identity;
  readonly addresses: readonly string[];
  readonly network: string;
  /** Set when the address is to be found by DNS. */
  readonly hostname: string;
  readonly tunnelProtocol: TunnelProtocol;
  readonly waypoint?: GatewayAddress;
  readonly networkGateway?: GatewayAddress;
  readonly node: string;
  readonly canonicalName: string;
  readonly canonicalRevision: string;
  readonly workloadType: WorkloadKind;
  readonly workloadName: string;
  readonly nativeTunnel: boolean;
  readonly applicationTunnel?: { readonly protocol: 'none' | 'proxy'; readonly port: number };
  readonly services: readonly Membership[];
  /** Names (`namespace/name`) of the selector policies that apply. */
  readonly authorizationPolicies: readonly string[];
  readonly healthy: boolean;
  readonly clusterId: string;
  readonly locality: Locality;
  readonly hostNetwork: boolean;
  /** The weight in load balancing; 0 gets nothing. */
  readonly capacity: number;
  /** No control plane told of it: made of what the node's agent says of one of its pods, while none could be asked (decision 0152). */
  readonly standIn?: {
    /** Why nothing may come in; undefined: by HBONE, and nothing in plaintext. */
    readonly unsure?: string;
  };
}

export type BalancingMode = 'unspecified' | 'strict' | 'failover' | 'passthrough';

export interface LoadBalancing {
  readonly routingPreference: readonly RoutingScope[];
  readonly mode: BalancingMode;
  /** Whether unhealthy endpoints get connections too. */
  readonly allowUnhealthy: boolean;
}

/** A virtual address of a service, or a range of them. */
export interface ServiceAddress {
  readonly network: string;
  readonly ip: string;
  /** Set only when it is a range and not one address. */
  readonly range?: Cidr;
}

/** Which of its endpoints' addresses a service may be served at; automatic: any. */
export type ServiceFamilies = 'automatic' | 'ipv4' | 'ipv6' | 'dual';

export interface Service {
  readonly kind: 'service';
  /** `namespace/hostname`; the name of the xDS resource. */
  readonly key: string;
  readonly name: string;
  readonly namespace: string;
  readonly hostname: string;
  /** Empty for a headless service. */
  readonly addresses: readonly ServiceAddress[];
  readonly ipFamilies: ServiceFamilies;
  readonly ports: readonly ServicePort[];
  readonly subjectAltNames: readonly string[];
  readonly waypoint?: GatewayAddress;
  readonly weightedWaypoints: readonly { readonly gateway: GatewayAddress; readonly weight: number }[];
  readonly loadBalancing: LoadBalancing;
  readonly canonical: boolean;
  readonly visibility: 'public' | 'namespace';
}

/** What changed, in the order of application: first the upserts, then the removals. */
export interface Delta<T> {
  readonly upserts: readonly T[];
  /** xDS resource names. */
  readonly removed: readonly string[];
}
export type AddressDelta = Delta<Workload | Service>;
export type PolicyDelta = Delta<Policy>;

/** How one text is compared. */
export type TextMatch =
  { readonly how: 'exact' | 'prefix' | 'suffix'; readonly text: string } | { readonly how: 'presence' };

export interface ServiceAccountMatch {
  readonly namespace: string;
  readonly serviceAccount: string;
}

/**
 * Different fields are AND-ed, the values of one field OR-ed, and no `not` value may match.
 * `unsupported` names a condition that the node cannot see (an emptied match, an unknown field, a broken value):
 * it counts as met in a DENY policy and as not met in an ALLOW policy (DESIGN §6).
 */
export interface Match {
  readonly namespaces: readonly TextMatch[];
  readonly notNamespaces: readonly TextMatch[];
  readonly principals: readonly TextMatch[];
  readonly notPrincipals: readonly TextMatch[];
  readonly sourceIps: readonly Cidr[];
  readonly notSourceIps: readonly Cidr[];
  readonly destinationIps: readonly Cidr[];
  readonly notDestinationIps: readonly Cidr[];
  readonly destinationPorts: readonly number[];
  readonly notDestinationPorts: readonly number[];
  readonly serviceAccounts: readonly ServiceAccountMatch[];
  readonly notServiceAccounts: readonly ServiceAccountMatch[];
  readonly unsupported?: string;
}

/** Matches are OR-ed. An empty one was emptied of what the node cannot see. */
export interface Clause {
  readonly matches: readonly Match[];
  readonly unsupported?: string;
}

/** Clauses are AND-ed; none at all matches everything. */
export interface Rule {
  readonly clauses: readonly Clause[];
  readonly unsupported?: string;
}

export interface Policy {
  /** `namespace/name`; the name of the xDS resource. */
  readonly key: string;
  readonly namespace: string;
  readonly scope: 'global' | 'namespace' | 'workload';
  readonly action: 'allow' | 'deny';
  readonly dryRun: boolean;
  /** Rules are OR-ed; none at all matches nothing. */
  readonly rules: readonly Rule[];
  /** Set when the policy as a whole cannot be understood: a DENY matches everything, an ALLOW nothing. */
  readonly unsupported?: string;
}
