/** What a catalog says of objects, wherever they come from. */
import type { CatalogPod, CatalogPolicy, CatalogService } from '../../lib/flow/catalog.ts';
import type { ObjectStatus } from '../local/status.ts';
import { policyInWords, type PolicyObject } from './policy-words.ts';

export type Labels = Readonly<Record<string, string>>;

export interface Meta {
  readonly name: string;
  readonly namespace?: string;
  readonly labels?: Labels;
}

export interface ServiceObject {
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

/** In this order: the first label that there is names the application or its version (Istio's canonical service). */
const APP_LABELS = ['service.istio.io/canonical-name', 'app.kubernetes.io/name', 'app'] as const;
const VERSION_LABELS = [
  'service.istio.io/canonical-revision',
  'app.kubernetes.io/version',
  'version',
] as const;
const WAYPOINT_LABEL = 'loam.dev/use-waypoint';

export function serviceOf(
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

export function policyOf(policy: PolicyObject, statuses: readonly ObjectStatus[]): CatalogPolicy {
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

export function nameOf({ namespace, name }: Meta): string {
  return `${namespace ?? 'default'}/${name}`;
}

function first(labels: Labels, names: readonly string[]): string | undefined {
  for (const name of names) if (labels[name] !== undefined && labels[name] !== '') return labels[name];
  return undefined;
}

/** By which the application of a pod goes, and its version. */
export function appOf(name: string, labels: Labels): Pick<CatalogPod, 'app' | 'version'> {
  const version = first(labels, VERSION_LABELS);
  return { app: first(labels, APP_LABELS) ?? name, ...(version !== undefined && { version }) };
}
