import type { Kind } from '../model/objects.ts';
import { NAMESPACE, SERVICE, SERVICE_ACCOUNT } from './core.ts';
import { ENDPOINT_SLICE, NODE } from './discovery.ts';
import type { Schema } from './dsl.ts';
import { EGRESS_POLICY, MESH_SETTINGS } from './egress-policy.ts';
import { GATEWAY, GATEWAY_CLASS, REFERENCE_GRANT } from './gateway.ts';
import { POD } from './pod.ts';
import { REQUEST_AUTHENTICATION } from './request-authentication.ts';
import { GRPC_ROUTE, HTTP_ROUTE } from './routes.ts';
import { AUTHORIZATION_POLICY, PEER_AUTHENTICATION } from './security.ts';
import { SERVICE_ENTRY } from './service-entry.ts';
import { TELEMETRY } from './telemetry.ts';
import { TRAFFIC_POLICY } from './traffic-policy.ts';

const CORE = ['v1'];
const SECURITY = ['security.istio.io/v1', 'security.istio.io/v1beta1'];
const GATEWAY_API = ['gateway.networking.k8s.io/v1', 'gateway.networking.k8s.io/v1beta1'];

const LOAM = ['loam.dev/v1'];

/** The schema of each kind and the apiVersions under which it may come. */
export const SCHEMAS: Readonly<
  Record<Kind, { readonly apiVersions: readonly string[]; readonly schema: Schema }>
> = {
  Namespace: { apiVersions: CORE, schema: NAMESPACE },
  ServiceAccount: { apiVersions: CORE, schema: SERVICE_ACCOUNT },
  Service: { apiVersions: CORE, schema: SERVICE },
  Pod: { apiVersions: CORE, schema: POD },
  Node: { apiVersions: CORE, schema: NODE },
  EndpointSlice: { apiVersions: ['discovery.k8s.io/v1'], schema: ENDPOINT_SLICE },
  AuthorizationPolicy: { apiVersions: SECURITY, schema: AUTHORIZATION_POLICY },
  PeerAuthentication: { apiVersions: SECURITY, schema: PEER_AUTHENTICATION },
  RequestAuthentication: { apiVersions: SECURITY, schema: REQUEST_AUTHENTICATION },
  Gateway: { apiVersions: GATEWAY_API, schema: GATEWAY },
  GatewayClass: { apiVersions: GATEWAY_API, schema: GATEWAY_CLASS },
  HTTPRoute: { apiVersions: GATEWAY_API, schema: HTTP_ROUTE },
  // v1 was its first version in the standard channel.
  GRPCRoute: { apiVersions: ['gateway.networking.k8s.io/v1'], schema: GRPC_ROUTE },
  ReferenceGrant: { apiVersions: GATEWAY_API, schema: REFERENCE_GRANT },
  TrafficPolicy: { apiVersions: LOAM, schema: TRAFFIC_POLICY },
  EgressPolicy: { apiVersions: LOAM, schema: EGRESS_POLICY },
  MeshSettings: { apiVersions: LOAM, schema: MESH_SETTINGS },
  ServiceEntry: {
    apiVersions: ['networking.istio.io/v1', 'networking.istio.io/v1beta1'],
    schema: SERVICE_ENTRY,
  },
  Telemetry: {
    apiVersions: ['telemetry.istio.io/v1', 'telemetry.istio.io/v1alpha1'],
    schema: TELEMETRY,
  },
};
