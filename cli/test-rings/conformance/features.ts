/** What is claimed of the Gateway API for a mesh, by the names of sigs.k8s.io/gateway-api/pkg/features. */

export const PROFILES = ['MESH-HTTP', 'MESH-GRPC'] as const;

export const CORE_FEATURES = ['Mesh', 'HTTPRoute', 'GRPCRoute'] as const;

/** Beyond the core: each is looked at by a test of the suite. */
export const EXTENDED_FEATURES = [
  'HTTPRoute303RedirectStatusCode',
  'HTTPRoute307RedirectStatusCode',
  'HTTPRoute308RedirectStatusCode',
  'HTTPRouteParentRefPort',
  'HTTPRouteResponseHeaderModification',
  'MeshClusterIPMatching',
  'MeshConsumerRoute',
  'MeshHTTPRouteBackendRequestHeaderModification',
  'MeshHTTPRouteNamedRouteRule',
  'MeshHTTPRouteQueryParamMatching',
  'MeshHTTPRouteRedirectPath',
  'MeshHTTPRouteRedirectPort',
  'MeshHTTPRouteRewritePath',
  'MeshHTTPRouteSchemeRedirect',
] as const;
