import { MANAGED_BY_LABEL, SELECTOR_CONTROLLER } from '../../model/discovery.ts';
import type { Kind } from '../../model/objects.ts';

/** How a kind is read from the API: its collection, and the apiVersion that its items have (those of a list do not say it). */
export interface ReadKind {
  readonly kind: Kind;
  readonly apiVersion: string;
  readonly path: string;
  /** Only the objects with these labels. */
  readonly labelSelector?: string;
}

function core(kind: Kind, plural: string): ReadKind {
  return { kind, apiVersion: 'v1', path: `/api/v1/${plural}` };
}

function custom(kind: Kind, apiVersion: string, plural: string): ReadKind {
  return { kind, apiVersion, path: `/apis/${apiVersion}/${plural}` };
}

const SECURITY = 'security.istio.io/v1';
const GATEWAY_API = 'gateway.networking.k8s.io/v1';
const LOAM = 'loam.dev/v1';

/** Every kind that the compiler knows (controller/model/meta.ts). */
export const READ_KINDS: readonly ReadKind[] = [
  core('Namespace', 'namespaces'),
  core('ServiceAccount', 'serviceaccounts'),
  core('Service', 'services'),
  core('Pod', 'pods'),
  core('Node', 'nodes'),
  {
    ...custom('EndpointSlice', 'discovery.k8s.io/v1', 'endpointslices'),
    // Those that Kubernetes makes of selectors say what the pods say, later, and are as many as the Services.
    labelSelector: `${MANAGED_BY_LABEL}!=${SELECTOR_CONTROLLER}`,
  },
  custom('AuthorizationPolicy', SECURITY, 'authorizationpolicies'),
  custom('PeerAuthentication', SECURITY, 'peerauthentications'),
  custom('RequestAuthentication', SECURITY, 'requestauthentications'),
  custom('Gateway', GATEWAY_API, 'gateways'),
  custom('GatewayClass', GATEWAY_API, 'gatewayclasses'),
  custom('HTTPRoute', GATEWAY_API, 'httproutes'),
  custom('GRPCRoute', GATEWAY_API, 'grpcroutes'),
  // The only version of it before Gateway API 1.5, and served by the later ones too.
  custom('ReferenceGrant', 'gateway.networking.k8s.io/v1beta1', 'referencegrants'),
  custom('TrafficPolicy', LOAM, 'trafficpolicies'),
  custom('EgressPolicy', LOAM, 'egresspolicies'),
  custom('MeshSettings', LOAM, 'meshsettings'),
  custom('ServiceEntry', 'networking.istio.io/v1', 'serviceentries'),
  custom('Telemetry', 'telemetry.istio.io/v1', 'telemetries'),
];

/** Kinds that the API server itself validates, and whose many fields Loam need not know. */
export const CORE_KINDS: readonly Kind[] = [
  'Namespace',
  'ServiceAccount',
  'Service',
  'Pod',
  'Node',
  'EndpointSlice',
];
