/**
 * The Kubernetes and Istio objects that the controller reads, with the fields it uses. The schemas in ../schema know
 * many more fields; an object here has passed them, so the types need no defence.
 */
import type { EndpointSlice, Node } from './discovery.ts';
import type { EgressPolicy, MeshSettings } from './egress-policy.ts';
import type { Gateway, GatewayClass, GRPCRoute, HTTPRoute, ReferenceGrant } from './gateway-api.ts';
import type { IpFamily, IpFamilyPolicy } from '../../lib/ip-families.ts';
import type { Base, Kind, Labels } from './meta.ts';
import type { RequestAuthentication } from './request-authentication.ts';
import type { ServiceEntry } from './service-entry.ts';
import type { Telemetry } from './telemetry.ts';
import type { TrafficPolicy } from './traffic-policy.ts';

export { KINDS } from './meta.ts';
export type { Kind, Labels, Metadata, OwnerReference } from './meta.ts';
export type { Gateway, GatewayClass, GRPCRoute, HTTPRoute, ReferenceGrant } from './gateway-api.ts';
export type { EndpointSlice, Node } from './discovery.ts';
export type { EgressPolicy, MeshSettings } from './egress-policy.ts';
export type { RequestAuthentication } from './request-authentication.ts';
export type { ServiceEntry } from './service-entry.ts';
export type { Telemetry } from './telemetry.ts';
export type { TrafficPolicy } from './traffic-policy.ts';

export type Namespace = Base<'Namespace'>;
export type ServiceAccount = Base<'ServiceAccount'>;

export interface ServicePort {
  readonly name?: string;
  readonly protocol?: 'TCP' | 'UDP' | 'SCTP';
  readonly appProtocol?: string;
  readonly port: number;
  readonly targetPort?: number | string;
}

export interface Service extends Base<'Service'> {
  readonly spec: {
    readonly type?: string;
    readonly clusterIP?: string;
    readonly clusterIPs?: readonly string[];
    readonly ipFamilies?: readonly IpFamily[];
    readonly ipFamilyPolicy?: IpFamilyPolicy;
    readonly selector?: Labels;
    readonly ports?: readonly ServicePort[];
    readonly publishNotReadyAddresses?: boolean;
    readonly internalTrafficPolicy?: 'Cluster' | 'Local';
    readonly trafficDistribution?: string;
  };
}

export interface ContainerPort {
  readonly name?: string;
  readonly containerPort: number;
  readonly protocol?: 'TCP' | 'UDP' | 'SCTP';
}

export interface Container {
  readonly name: string;
  readonly restartPolicy?: string;
  readonly ports?: readonly ContainerPort[];
}

export interface Pod extends Base<'Pod'> {
  readonly spec: {
    readonly nodeName?: string;
    readonly serviceAccountName?: string;
    readonly hostNetwork?: boolean;
    readonly containers: readonly Container[];
    readonly initContainers?: readonly Container[];
  };
  readonly status?: {
    readonly phase?: string;
    readonly podIP?: string;
    readonly podIPs?: readonly { readonly ip: string }[];
    readonly conditions?: readonly { readonly type: string; readonly status: string }[];
  };
}

export interface Selector {
  readonly matchLabels?: Labels;
}

export interface TargetRef {
  readonly group?: string;
  readonly kind: string;
  readonly name: string;
  readonly namespace?: string;
}

/** Whether a policy is attached to a Service; Kubernetes' core group is written as nothing, and by some as "core". */
export function isService({ kind, group = '' }: TargetRef): boolean {
  return kind === 'Service' && (group === '' || group === 'core');
}

export interface PolicySource {
  readonly principals?: readonly string[];
  readonly notPrincipals?: readonly string[];
  readonly namespaces?: readonly string[];
  readonly notNamespaces?: readonly string[];
  readonly serviceAccounts?: readonly string[];
  readonly notServiceAccounts?: readonly string[];
  readonly ipBlocks?: readonly string[];
  readonly notIpBlocks?: readonly string[];
  readonly remoteIpBlocks?: readonly string[];
  readonly notRemoteIpBlocks?: readonly string[];
  readonly requestPrincipals?: readonly string[];
  readonly notRequestPrincipals?: readonly string[];
}

export interface PolicyOperation {
  readonly ports?: readonly string[];
  readonly notPorts?: readonly string[];
  readonly hosts?: readonly string[];
  readonly notHosts?: readonly string[];
  readonly methods?: readonly string[];
  readonly notMethods?: readonly string[];
  readonly paths?: readonly string[];
  readonly notPaths?: readonly string[];
}

export interface PolicyCondition {
  readonly key: string;
  readonly values?: readonly string[];
  readonly notValues?: readonly string[];
}

export interface PolicyRule {
  readonly from?: readonly { readonly source: PolicySource }[];
  readonly to?: readonly { readonly operation: PolicyOperation }[];
  readonly when?: readonly PolicyCondition[];
}

export interface AuthorizationPolicy extends Base<'AuthorizationPolicy'> {
  readonly spec?: {
    readonly selector?: Selector;
    readonly targetRef?: TargetRef;
    readonly targetRefs?: readonly TargetRef[];
    readonly action?: 'ALLOW' | 'DENY' | 'AUDIT';
    readonly rules?: readonly PolicyRule[];
  } | null;
}

export const MTLS_MODES = ['UNSET', 'DISABLE', 'PERMISSIVE', 'STRICT'] as const;
export type MtlsMode = (typeof MTLS_MODES)[number];

export interface PeerAuthentication extends Base<'PeerAuthentication'> {
  readonly spec?: {
    readonly selector?: Selector;
    readonly mtls?: { readonly mode?: MtlsMode };
    readonly portLevelMtls?: Readonly<Record<string, { readonly mode?: MtlsMode }>>;
  } | null;
}

export type KubeObject =
  | Namespace
  | ServiceAccount
  | Service
  | Pod
  | Node
  | EndpointSlice
  | AuthorizationPolicy
  | PeerAuthentication
  | RequestAuthentication
  | Gateway
  | GatewayClass
  | HTTPRoute
  | GRPCRoute
  | ReferenceGrant
  | TrafficPolicy
  | EgressPolicy
  | MeshSettings
  | ServiceEntry
  | Telemetry;

/** What names one object: kind, namespace (empty for a Namespace) and name. */
export interface ObjectRef {
  readonly kind: string;
  readonly namespace: string;
  readonly name: string;
}

const CLUSTER_WIDE: readonly Kind[] = ['Namespace', 'Node', 'GatewayClass', 'MeshSettings'];

/** The namespace of an object, with Kubernetes' default; empty for the kinds that have none. */
export function namespaceOf(object: KubeObject): string {
  return CLUSTER_WIDE.includes(object.kind) ? '' : (object.metadata.namespace ?? 'default');
}

export function refOf(object: KubeObject): ObjectRef {
  return { kind: object.kind, namespace: namespaceOf(object), name: object.metadata.name };
}

/** A text that is unique for an object within the mesh, also usable for sorting. */
export function objectKey(ref: ObjectRef): string {
  return `${ref.kind}/${ref.namespace}/${ref.name}`;
}
