import type { V1Namespace, V1Pod, V1Service } from '@kubernetes/client-node';
import type { Catalog, CatalogPod, CatalogRoute, CatalogWaypoint } from '../../../lib/flow/catalog.ts';
import type { ControllerStatus } from '../../local/status.ts';
import {
  appOf,
  policyOf,
  serviceOf,
  type Labels,
  type ServiceObject,
} from '../../observe/catalog-objects.ts';
import type { PolicyObject } from '../../observe/policy-words.ts';
import { routeOf, type RouteObject } from '../../observe/route-words.ts';
import { GATEWAY_NAME_LABEL } from '../../waypoints/model.ts';
import { isReady } from './programs.ts';
import { isPresent, type ClusterReader } from './reader.ts';
import { clusterStatus, type ClusterStatus } from './status.ts';

const POLICIES = [
  'security.istio.io/v1/AuthorizationPolicy',
  'security.istio.io/v1/PeerAuthentication',
  'security.istio.io/v1/RequestAuthentication',
  'loam.dev/v1/EgressPolicy',
  'loam.dev/v1/TrafficPolicy',
] as const;

/** What the objects of a cluster say, as far as the user may see them; what is left out is among the problems. */
export async function clusterCatalog(reader: ClusterReader): Promise<Catalog> {
  const { objects } = reader;
  const [status, controller, pods, services, namespaces, httpRoutes, grpcRoutes, waypointPods, ...policies] =
    await Promise.all([
      clusterStatus(reader),
      controllerStatus(reader),
      objects.list<V1Pod>('v1/Pod'),
      objects.list<V1Service>('v1/Service'),
      objects.list<V1Namespace>('v1/Namespace'),
      objects.list<RouteObject>('gateway.networking.k8s.io/v1/HTTPRoute'),
      objects.list<RouteObject>('gateway.networking.k8s.io/v1/GRPCRoute'),
      reader.programs.waypointPods(),
      ...POLICIES.map(async (kind) => {
        const name = kind.slice(kind.lastIndexOf('/') + 1);
        // Items of a list do not say their kind.
        return (await objects.list<PolicyObject>(kind)).map((object) => ({ ...object, kind: name }));
      }),
    ]);
  const present = pods.filter((pod) => isPresent(pod) && !waypointPods.includes(pod));
  const labels = new Map(present.map((pod) => [keyOf(pod), pod.metadata?.labels ?? {}]));
  const spaces = new Map<string, Labels>(
    namespaces.map(({ metadata }) => [metadata?.name ?? '', metadata?.labels ?? {}]),
  );
  const shown = present.map((pod) => podOf(pod, status));
  return {
    mesh: reader.name,
    pods: shown,
    services: services.map((service) => serviceOf(service as ServiceObject, shown, labels, spaces)),
    routes: [
      ...httpRoutes.map((route): CatalogRoute => routeOf({ ...route, kind: 'HTTPRoute' })),
      ...grpcRoutes.map((route): CatalogRoute => routeOf({ ...route, kind: 'GRPCRoute' })),
    ],
    policies: policies.flat().map((policy) => policyOf(policy, controller?.objects ?? [])),
    waypoints: waypointsOf(waypointPods, controller),
    problems: [...status.problems, ...reader.missing().map((why) => ({ what: 'left out', why }))],
  };
}

async function controllerStatus(reader: ClusterReader): Promise<ControllerStatus | undefined> {
  try {
    return (await reader.get({ program: 'controller' }, '/v1/status')) as ControllerStatus;
  } catch {
    return undefined; // The status says why.
  }
}

function podOf(pod: V1Pod, { pods, asked }: ClusterStatus): CatalogPod {
  const { metadata, spec, status } = pod;
  const [namespace, name, node] = [metadata?.namespace ?? '', metadata?.name ?? '', spec?.nodeName ?? ''];
  const enrolled = pods.find((each) => each.namespace === namespace && each.name === name);
  return {
    ...{ namespace, name, node, account: spec?.serviceAccountName ?? 'default' },
    ...appOf(appName(pod), metadata?.labels ?? {}),
    ...{ ips: (status?.podIPs ?? []).map(({ ip }) => ip), ready: isReady(pod) },
    ...(asked.includes(node) && { enrolled: enrolled?.state === 'verified' }),
    ...(enrolled?.problem !== undefined && { problem: enrolled.problem }),
  };
}

/** Without a label that names it: what made the pod, so that pods of one Deployment are one application. */
function appName({ metadata }: V1Pod): string {
  const name = metadata?.name ?? '';
  const hash = metadata?.labels?.['pod-template-hash'];
  const end = hash === undefined ? -1 : name.indexOf(`-${hash}-`);
  return end > 0 ? name.slice(0, end) : name;
}

function waypointsOf(pods: readonly V1Pod[], controller: ControllerStatus | undefined): CatalogWaypoint[] {
  return [
    ...Map.groupBy(
      pods,
      ({ metadata }) => `${metadata?.namespace ?? ''}/${metadata?.labels?.[GATEWAY_NAME_LABEL] ?? ''}`,
    ),
  ].map(([key, instances]) => {
    const [namespace = '', name = ''] = key.split('/');
    return {
      ...{ namespace, name },
      instances: instances.map((pod) => ({
        name: pod.metadata?.name ?? '',
        node: pod.spec?.nodeName ?? '',
        ready: isReady(pod),
      })),
      serves: controller?.gateways?.find(({ gateway }) => gateway === key)?.serves ?? [],
    };
  });
}

function keyOf({ metadata }: V1Pod): string {
  return `${metadata?.namespace ?? ''}/${metadata?.name ?? ''}`;
}
