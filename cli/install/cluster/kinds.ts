/** Where the API server has the kinds that the command line reads and writes. */
import { InstallError } from '../errors.ts';
import type { Manifest } from '../render/manifest.ts';

interface KindPlace {
  readonly plural: string;
  readonly namespaced: boolean;
}

const namespaced = (plural: string): KindPlace => ({ plural, namespaced: true });
const ofCluster = (plural: string): KindPlace => ({ plural, namespaced: false });

const PLACES: Readonly<Record<string, KindPlace>> = {
  'apiextensions.k8s.io/v1/CustomResourceDefinition': ofCluster('customresourcedefinitions'),
  'apps/v1/DaemonSet': namespaced('daemonsets'),
  'apps/v1/Deployment': namespaced('deployments'),
  'batch/v1/Job': namespaced('jobs'),
  'coordination.k8s.io/v1/Lease': namespaced('leases'),
  'discovery.k8s.io/v1/EndpointSlice': namespaced('endpointslices'),
  'gateway.networking.k8s.io/v1/Gateway': namespaced('gateways'),
  'gateway.networking.k8s.io/v1/HTTPRoute': namespaced('httproutes'),
  'gateway.networking.k8s.io/v1/GatewayClass': ofCluster('gatewayclasses'),
  'gateway.networking.k8s.io/v1/GRPCRoute': namespaced('grpcroutes'),
  'gateway.networking.k8s.io/v1beta1/ReferenceGrant': namespaced('referencegrants'),
  'loam.dev/v1/EgressPolicy': namespaced('egresspolicies'),
  'loam.dev/v1/MeshSettings': ofCluster('meshsettings'),
  'loam.dev/v1/TrafficPolicy': namespaced('trafficpolicies'),
  'networking.istio.io/v1/ServiceEntry': namespaced('serviceentries'),
  'policy/v1/PodDisruptionBudget': namespaced('poddisruptionbudgets'),
  'rbac.authorization.k8s.io/v1/ClusterRole': ofCluster('clusterroles'),
  'rbac.authorization.k8s.io/v1/ClusterRoleBinding': ofCluster('clusterrolebindings'),
  'rbac.authorization.k8s.io/v1/Role': namespaced('roles'),
  'rbac.authorization.k8s.io/v1/RoleBinding': namespaced('rolebindings'),
  'security.istio.io/v1/AuthorizationPolicy': namespaced('authorizationpolicies'),
  'security.istio.io/v1/PeerAuthentication': namespaced('peerauthentications'),
  'security.istio.io/v1/RequestAuthentication': namespaced('requestauthentications'),
  'telemetry.istio.io/v1/Telemetry': namespaced('telemetries'),
  'v1/ConfigMap': namespaced('configmaps'),
  'v1/Event': namespaced('events'),
  'v1/Namespace': ofCluster('namespaces'),
  'v1/Node': ofCluster('nodes'),
  'v1/Pod': namespaced('pods'),
  'v1/Secret': namespaced('secrets'),
  'v1/Service': namespaced('services'),
  'v1/ServiceAccount': namespaced('serviceaccounts'),
};

/**
 * Path of a kind's collection.
 *
 * @param kind `apiVersion/kind`
 * @param namespace of a namespaced kind; without it, all namespaces
 */
export function collectionPath(kind: string, namespace?: string): string {
  const place = placeOf(kind);
  const group = kind.slice(0, kind.lastIndexOf('/'));
  const root = group.includes('/') ? `/apis/${group}` : `/api/${group}`;
  const inside = place.namespaced && namespace !== undefined ? `/namespaces/${namespace}` : '';
  return `${root}${inside}/${place.plural}`;
}

/** Path of one object. */
export function objectPath({ apiVersion, kind, metadata }: Manifest): string {
  return `${collectionPath(`${apiVersion}/${kind}`, metadata.namespace)}/${metadata.name}`;
}

/** `Deployment loam-system/loam-controller`, for a person. */
export function objectText({ kind, metadata }: Manifest): string {
  return `${kind} ${metadata.namespace === undefined ? '' : `${metadata.namespace}/`}${metadata.name}`;
}

/** What the API server calls a kind's collection. @param kind `apiVersion/kind` */
export function placeOf(kind: string): KindPlace {
  const place = PLACES[kind];
  if (place === undefined) throw new InstallError('INSTALL_API', `${kind} is no kind that loam knows`);
  return place;
}
