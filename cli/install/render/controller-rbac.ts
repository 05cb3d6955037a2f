/** What the controllers may do: read what they compile, and write what is theirs. */
import type {
  RbacV1Subject,
  V1ClusterRole,
  V1ClusterRoleBinding,
  V1PolicyRule,
  V1Role,
  V1RoleBinding,
} from '@kubernetes/client-node';
import { clusterMeta, meta, nameOf, type Component, type Installation, type Manifest } from './manifest.ts';
import { ROOT_CONFIG_MAP } from './programs.ts';

const READ = ['get', 'list', 'watch'];
/** Server-side apply of an object that is not there yet is a patch and a create, both by name. */
const APPLY = ['create', 'patch'];

const CLUSTER_RULES: readonly V1PolicyRule[] = [
  { apiGroups: [''], resources: ['namespaces', 'nodes', 'pods', 'serviceaccounts', 'services'], verbs: READ },
  { apiGroups: ['discovery.k8s.io'], resources: ['endpointslices'], verbs: READ },
  {
    apiGroups: ['gateway.networking.k8s.io'],
    resources: ['gatewayclasses', 'gateways', 'grpcroutes', 'httproutes', 'referencegrants'],
    verbs: READ,
  },
  {
    apiGroups: ['security.istio.io'],
    resources: ['authorizationpolicies', 'peerauthentications', 'requestauthentications'],
    verbs: READ,
  },
  { apiGroups: ['networking.istio.io'], resources: ['serviceentries'], verbs: READ },
  { apiGroups: ['telemetry.istio.io'], resources: ['telemetries'], verbs: READ },
  { apiGroups: ['loam.dev'], resources: ['egresspolicies', 'meshsettings', 'trafficpolicies'], verbs: READ },
  // Status of what was compiled, and nothing else of these objects.
  {
    apiGroups: ['gateway.networking.k8s.io'],
    resources: ['gatewayclasses/status', 'gateways/status', 'grpcroutes/status', 'httproutes/status'],
    verbs: ['patch', 'update'],
  },
  {
    apiGroups: ['security.istio.io'],
    resources: [
      'authorizationpolicies/status',
      'peerauthentications/status',
      'requestauthentications/status',
    ],
    verbs: ['patch', 'update'],
  },
  { apiGroups: ['networking.istio.io'], resources: ['serviceentries/status'], verbs: ['patch', 'update'] },
  { apiGroups: ['telemetry.istio.io'], resources: ['telemetries/status'], verbs: ['patch', 'update'] },
  {
    apiGroups: ['loam.dev'],
    resources: ['egresspolicies/status', 'meshsettings/status', 'trafficpolicies/status'],
    verbs: ['patch', 'update'],
  },
  { apiGroups: ['authentication.k8s.io'], resources: ['tokenreviews'], verbs: ['create'] },
  // Waypoints, in whatever namespace a Gateway asks for one; what is a Gateway's goes with it, by the garbage collector; where OwnerReferencesPermissionEnforcement is on, owning needs the finalizers.
  { apiGroups: ['apps'], resources: ['deployments'], verbs: [...READ, ...APPLY] },
  { apiGroups: ['policy'], resources: ['poddisruptionbudgets'], verbs: [...READ, ...APPLY] },
  { apiGroups: [''], resources: ['serviceaccounts', 'services'], verbs: APPLY },
  { apiGroups: ['gateway.networking.k8s.io'], resources: ['gateways/finalizers'], verbs: ['update'] },
  // The taint loam.dev/agent-not-ready, off nodes whose agent is ready.
  { apiGroups: [''], resources: ['nodes'], verbs: ['patch'] },
  // The root certificate, where waypoints are.
  {
    apiGroups: [''],
    resources: ['configmaps'],
    resourceNames: [ROOT_CONFIG_MAP],
    verbs: [...READ, ...APPLY, 'delete'],
  },
];

/** Names cannot be asked for where something is created by POST. */
const ownRules = ({ values }: Installation): readonly V1PolicyRule[] => [
  { apiGroups: [''], resources: ['configmaps', 'secrets'], verbs: ['create'] },
  {
    apiGroups: [''],
    resources: ['secrets'],
    resourceNames: [values.ca.secret, 'loam-session'],
    verbs: [...READ, 'patch', 'update'],
  },
  { apiGroups: ['coordination.k8s.io'], resources: ['leases'], verbs: ['create'] },
  {
    apiGroups: ['coordination.k8s.io'],
    resources: ['leases'],
    resourceNames: ['loam-controller-leader'],
    verbs: ['get', 'patch', 'update'],
  },
  // What an uninstall left that was begun and not ended.
  {
    apiGroups: ['apps'],
    resources: ['daemonsets'],
    resourceNames: ['loam-agent', 'loam-cleanup'],
    verbs: ['get'],
  },
  { apiGroups: ['apps'], resources: ['daemonsets'], resourceNames: ['loam-cleanup'], verbs: ['delete'] },
];

/** Roles of the controllers in the cluster and in their own namespace, and their bindings. */
export function controllerRbac(installation: Installation): Manifest[] {
  const { namespace } = installation;
  return [
    ...clusterRole('controller', namespace, CLUSTER_RULES),
    ...role('controller', namespace, ownRules(installation)),
  ];
}

const RBAC = 'rbac.authorization.k8s.io';

/** A role in the whole cluster for a program's account. */
export function clusterRole(
  component: Component,
  namespace: string,
  rules: readonly V1PolicyRule[],
): Manifest[] {
  const metadata = clusterMeta(component);
  const granted: Manifest & V1ClusterRole = {
    apiVersion: `${RBAC}/v1`,
    kind: 'ClusterRole',
    metadata,
    rules: [...rules],
  };
  const binding: Manifest & V1ClusterRoleBinding = {
    apiVersion: `${RBAC}/v1`,
    kind: 'ClusterRoleBinding',
    metadata,
    roleRef: { apiGroup: RBAC, kind: 'ClusterRole', name: metadata.name },
    subjects: [subject(component, namespace)],
  };
  return [granted, binding];
}

function role(component: Component, namespace: string, rules: readonly V1PolicyRule[]): Manifest[] {
  const metadata = meta(component, namespace);
  const granted: Manifest & V1Role = { apiVersion: `${RBAC}/v1`, kind: 'Role', metadata, rules: [...rules] };
  const binding: Manifest & V1RoleBinding = {
    apiVersion: `${RBAC}/v1`,
    kind: 'RoleBinding',
    metadata,
    roleRef: { apiGroup: RBAC, kind: 'Role', name: metadata.name },
    subjects: [subject(component, namespace)],
  };
  return [granted, binding];
}

function subject(component: Component, namespace: string): RbacV1Subject {
  return { kind: 'ServiceAccount', name: nameOf(component), namespace };
}
