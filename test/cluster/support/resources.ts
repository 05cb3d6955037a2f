/** Where the API has objects of a kind. */

/** An object as it is sent; what else it holds is Kubernetes' to judge. */
export interface KubeObject {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: {
    readonly name: string;
    readonly namespace?: string;
    readonly labels?: Readonly<Record<string, string>>;
    readonly annotations?: Readonly<Record<string, string>>;
  };
  readonly [field: string]: unknown;
}

/** Kinds that stand in no namespace. */
const CLUSTER_WIDE = new Set([
  'ClusterRole',
  'ClusterRoleBinding',
  'CustomResourceDefinition',
  'GatewayClass',
  'Namespace',
  'Node',
]);

/** Path of the collection, for example `/apis/apps/v1/namespaces/shop/deployments`. */
export function collectionOf({ apiVersion, kind, metadata }: KubeObject): string {
  const root = apiVersion.includes('/') ? `/apis/${apiVersion}` : `/api/${apiVersion}`;
  const inside = CLUSTER_WIDE.has(kind) ? '' : `/namespaces/${metadata.namespace ?? 'default'}`;
  return `${root}${inside}/${plural(kind)}`;
}

/** As Kubernetes' own kinds, the Gateway API's and Istio's are spelled. */
function plural(kind: string): string {
  const name = kind.toLowerCase();
  if (/(?:s|x|ch)$/.test(name)) return `${name}es`;
  return name.endsWith('y') && !name.endsWith('way') ? `${name.slice(0, -1)}ies` : `${name}s`;
}

export function pathOf(object: KubeObject): string {
  return `${collectionOf(object)}/${object.metadata.name}`;
}
