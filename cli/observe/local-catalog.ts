import { askJson } from '../local/http.ts';
import { meshPaths } from '../local/paths.ts';
import { problemsOf } from '../local/problems.ts';
import { meshStatus, type MeshStatus } from '../local/status.ts';
import type { Catalog, CatalogPod, CatalogRoute, CatalogWaypoint } from '../../lib/flow/catalog.ts';
import {
  appOf,
  nameOf,
  policyOf,
  serviceOf,
  type Labels,
  type Meta,
  type ServiceObject,
} from './catalog-objects.ts';
import type { PolicyObject } from './policy-words.ts';
import { routeOf, type RouteObject } from './route-words.ts';

interface Objects {
  readonly pods: readonly { readonly metadata: Meta }[];
  readonly services: readonly ServiceObject[];
  readonly namespaces: readonly { readonly metadata: Meta }[];
  readonly httpRoutes: readonly RouteObject[];
  readonly grpcRoutes?: readonly RouteObject[];
  readonly policies?: readonly PolicyObject[];
}

/**
 * What the objects of a local mesh say, asked anew by each call of what is returned. While the controller does not answer, its last
 * answer counts: applications keep their names.
 */
export function localCatalogs(mesh: string): () => Promise<Catalog> {
  let objects: Objects | undefined;
  return async () => {
    const [status, now] = await Promise.all([
      meshStatus(mesh),
      (
        askJson({ socketPath: meshPaths(mesh).controllerStatus }, '/v1/objects?all=1') as Promise<Objects>
      ).catch(() => undefined),
    ]);
    objects = now ?? objects;
    return catalogOf(status, objects);
  };
}

/** @param objects undefined: the controller does not answer */
export function catalogOf(status: MeshStatus, objects: Objects | undefined): Catalog {
  const labels = new Map(
    (objects?.pods ?? []).map(({ metadata }) => [nameOf(metadata), metadata.labels ?? {}]),
  );
  const pods = podsOf(status, labels);
  const namespaces = new Map(
    (objects?.namespaces ?? []).map(({ metadata }) => [metadata.name, metadata.labels ?? {}]),
  );
  return {
    mesh: status.report.mesh,
    pods,
    services: (objects?.services ?? []).map((service) => serviceOf(service, pods, labels, namespaces)),
    routes: [...(objects?.httpRoutes ?? []), ...(objects?.grpcRoutes ?? [])].map((route): CatalogRoute =>
      routeOf(route),
    ),
    policies: (objects?.policies ?? []).map((policy) => policyOf(policy, status.controller?.objects ?? [])),
    waypoints: waypointsOf(status),
    problems: problemsOf(status).map(({ what, why }) => ({ what, why })),
  };
}

function podsOf({ report, enrolled }: MeshStatus, labels: ReadonlyMap<string, Labels>): CatalogPod[] {
  return report.pods.map((pod) => {
    const own = labels.get(`${pod.namespace}/${pod.name}`) ?? {};
    const kernel = enrolled[pod.uid];
    return {
      ...{ namespace: pod.namespace, name: pod.name, node: pod.node, account: pod.serviceAccount },
      ...appOf(pod.name, own),
      ...{ ips: pod.ips, ready: pod.ready },
      ...(kernel ? { enrolled: kernel.verified === true } : !pod.wantsEnrolment && { enrolled: false }),
      ...(kernel?.problem !== undefined && { problem: kernel.problem }),
    };
  });
}

function waypointsOf({ report, readiness, controller }: MeshStatus): CatalogWaypoint[] {
  return report.waypoints.map(({ namespace, name, instances }) => ({
    ...{ namespace, name },
    instances: instances.map((instance) => ({
      ...{ name: instance.name, node: instance.node },
      ready: readiness.waypoints[`${namespace}/${instance.name}`]?.ready === true,
    })),
    serves: controller?.gateways?.find(({ gateway }) => gateway === `${namespace}/${name}`)?.serves ?? [],
  }));
}
