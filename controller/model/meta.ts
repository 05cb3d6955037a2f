/** What all objects have in common, and the kinds that the controller reads. */
export const KINDS = [
  'Namespace',
  'ServiceAccount',
  'Service',
  'Pod',
  'Node',
  'EndpointSlice',
  'AuthorizationPolicy',
  'PeerAuthentication',
  'RequestAuthentication',
  'Gateway',
  'GatewayClass',
  'HTTPRoute',
  'GRPCRoute',
  'ReferenceGrant',
  'TrafficPolicy',
  'EgressPolicy',
  'MeshSettings',
  'ServiceEntry',
  'Telemetry',
] as const;
export type Kind = (typeof KINDS)[number];

export type Labels = Readonly<Record<string, string>>;

export interface OwnerReference {
  readonly kind: string;
  readonly name: string;
  readonly controller?: boolean;
}

export interface Metadata {
  readonly name: string;
  readonly namespace?: string;
  readonly labels?: Labels;
  readonly annotations?: Labels;
  readonly ownerReferences?: readonly OwnerReference[];
  readonly creationTimestamp?: string | null;
}

/** The outermost shape of every object. */
export interface Base<K extends Kind> {
  readonly apiVersion: string;
  readonly kind: K;
  readonly metadata: Metadata;
}
