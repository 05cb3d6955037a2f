import { askJson } from '../local/http.ts';
import { meshPaths } from '../local/paths.ts';
import { problemsOf } from '../local/problems.ts';
import { meshStatus, type MeshStatus, type ObjectStatus } from '../local/status.ts';
import type {
  Catalog,
  CatalogPod,
  CatalogPolicy,
  CatalogRoute,
  CatalogService,
  CatalogWaypoint,
} from '../../lib/flow/catalog.ts';
import { policyInWords, type PolicyObject } from './policy-words.ts';
import { routeOf, type RouteObject } from './route-words.ts';

type Labels = Readonly<Record<string, string>>;

interface Meta {
  readonly name: string;
  readonly namespace?: string;
  readonly labels?: Labels;
}

interface ServiceObject {
  readonly metadata: Meta;
  readonly spec: {
    readonly selector?: Labels;
    readonly ports?: readonly {
      readonly port: number;
      readonly name?: string;
      readonly appProtocol?: string;
    }[];
  };
}

interface Objects {
  readonly pods: readonly { readonly metadata: Meta }[];
  readonly services: readonly ServiceObject[];
  readonly namespaces: readonly { readonly metadata: Meta }[];
  readonly httpRoutes: readonly RouteObject[];
  readonly grpcRoutes?: readonly RouteObject[];
  readonly policies?: readonly PolicyObject[];
}

/** In this order: the first label that there is names the application or its version (Istio's canonical service). */
const APP_LABELS = ['service.istio.io/canonical-name', 'app.kubernetes.io/name', 'app'] as const;
const VERSION_LABELS = [
  'service.istio.io/canonical-revision',
  'app.kubernetes.io/version',
  'version',
] as const;
const WAYPOINT_LABEL = 'loam.dev/use-waypoint';

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
    const version = first(own, VERSION_LABELS);
    return {
      ...{ namespace: pod.namespace, name: pod.name, node: pod.node, account: pod.serviceAccount },
      app: first(own, APP_LABELS) ?? pod.name,
      ...(version !== undefined && { version }),
      ...{ ips: pod.ips, ready: pod.ready },
      ...(kernel ? { enrolled: kernel.verified === true } : !pod.wantsEnrolment && { enrolled: false }),
      ...(kernel?.problem !== undefined && { problem: kernel.problem }),
    };
  });
}

function serviceOf(
  { metadata, spec }: ServiceObject,
  pods: readonly CatalogPod[],
  labels: ReadonlyMap<string, Labels>,
  namespaces: ReadonlyMap<string, Labels>,
): CatalogService {
  const namespace = metadata.namespace ?? 'default';
  const selector = Object.entries(spec.selector ?? {});
  const selected = pods.filter((pod) => {
    const own = labels.get(`${pod.namespace}/${pod.name}`) ?? {};
    return (
      pod.namespace === namespace &&
      selector.length > 0 &&
      selector.every(([key, value]) => own[key] === value)
    );
  });
  const waypoint = metadata.labels?.[WAYPOINT_LABEL] ?? namespaces.get(namespace)?.[WAYPOINT_LABEL];
  return {
    namespace,
    name: metadata.name,
    ports: (spec.ports ?? []).map(({ port, name, appProtocol }) =>
      [String(port), appProtocol ?? name].filter(Boolean).join(' '),
    ),
    pods: selected.map((pod) => `${pod.namespace}/${pod.name}`),
    ...(waypoint !== undefined && waypoint !== 'none' && { waypoint: `${namespace}/${waypoint}` }),
  };
}

function policyOf(policy: PolicyObject, statuses: readonly ObjectStatus[]): CatalogPolicy {
  const words = policyInWords(policy);
  const status = statuses.find(
    ({ kind, namespace, name }) =>
      kind === words.kind && namespace === words.namespace && name === words.name,
  );
  return {
    ...words,
    state: status?.state ?? 'unknown',
    ...(status?.message !== undefined && { message: status.message }),
    compiledTo: status?.compiledTo ?? [],
  };
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

function nameOf({ namespace, name }: Meta): string {
  return `${namespace ?? 'default'}/${name}`;
}

function first(labels: Labels, names: readonly string[]): string | undefined {
  for (const name of names) if (labels[name] !== undefined && labels[name] !== '') return labels[name];
  return undefined;
}
