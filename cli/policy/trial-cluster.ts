/** A cluster's objects with a proposal among them, as a controller of this command's own reads them. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { placeOf } from '../install/cluster/kinds.ts';
import { MeshError } from '../mesh/errors.ts';
import type { ClusterReader } from '../mesh/cluster/reader.ts';
import type { NodeState } from '../mesh/stores.ts';
import { documentsOf, keyOf, readProposed, type ObjectKey, type Proposal } from './proposal.ts';
import type { Trial } from './trial-controller.ts';

/** What can be proposed: `apiVersion/kind` that say what the mesh does. */
export const PROPOSABLE = [
  'v1/Namespace',
  'v1/ServiceAccount',
  'v1/Service',
  'security.istio.io/v1/AuthorizationPolicy',
  'security.istio.io/v1/PeerAuthentication',
  'security.istio.io/v1/RequestAuthentication',
  'gateway.networking.k8s.io/v1/Gateway',
  'gateway.networking.k8s.io/v1/GatewayClass',
  'gateway.networking.k8s.io/v1/HTTPRoute',
  'gateway.networking.k8s.io/v1/GRPCRoute',
  'gateway.networking.k8s.io/v1beta1/ReferenceGrant',
  'loam.dev/v1/TrafficPolicy',
  'loam.dev/v1/EgressPolicy',
  'loam.dev/v1/MeshSettings',
  'networking.istio.io/v1/ServiceEntry',
  'telemetry.istio.io/v1/Telemetry',
] as const;
/** All that a controller reads: these too are somebody else's to change, and as they are. */
export const COPIED = [...PROPOSABLE, 'v1/Pod', 'v1/Node', 'discovery.k8s.io/v1/EndpointSlice'] as const;

const LAST_APPLIED = 'kubectl.kubernetes.io/last-applied-configuration';
/** What the API server chooses for a Service, and leaves as it is. */
const CHOSEN = ['clusterIP', 'clusterIPs', 'ipFamilies', 'ipFamilyPolicy'] as const;

type Json = Readonly<Record<string, unknown>>;

/** An object of the API, of which no more is taken for granted than that it has a name. */
export interface CopiedObject {
  readonly apiVersion?: unknown;
  readonly kind?: unknown;
  readonly metadata: Json & { readonly name: string; readonly namespace?: string };
  readonly spec?: unknown;
  readonly status?: unknown;
}

/**
 * Writes a copy of the cluster's objects with the proposal.
 *
 * @param state of any node: of which mesh it is
 * @throws MeshError MESH_INPUT, MESH_RIGHTS
 */
export async function clusterTrial(
  reader: ClusterReader,
  { trustDomain, clusterId }: NodeState,
  { files, without }: Proposal,
  { folder, namespace }: { readonly folder: string; readonly namespace: string | undefined },
): Promise<Trial> {
  const { objects, system } = reader;
  const documents = files.map(readProposed).flatMap(({ file, text }) => documentsOf(file, text));
  const lists = await Promise.all(
    COPIED.map(async (kind) => ({ kind, items: await objects.list<CopiedObject>(kind) })),
  );
  const unseen = COPIED.flatMap((kind) => objects.missingFor(kind) ?? []);
  if (unseen.length > 0)
    throw new MeshError(
      'MESH_RIGHTS',
      `a proposal is compiled with all that the controller reads: ${unseen.join('; ')}`,
    );
  const { items, proposed, passedOver } = withProposal(lists, documents, {
    without,
    namespace: namespace ?? reader.api.namespace,
  });
  const file = join(folder, 'objects.json');
  writeFileSync(file, JSON.stringify({ kind: 'List', items }), { mode: 0o600 });
  return {
    flags: { objects: file, 'root-namespace': system },
    mesh: { trustDomain, clusterId },
    isProposed: (of) => proposed.includes(of),
    passedOver,
  };
}

/**
 * The objects as they would be.
 *
 * @param lists of the API server, in which items do not say their kind
 * @returns `proposed` as the controller names objects: `Kind/namespace/name`
 * @throws MeshError MESH_INPUT
 */
export function withProposal(
  lists: readonly { readonly kind: string; readonly items: readonly CopiedObject[] }[],
  documents: readonly unknown[],
  { without, namespace }: { readonly without: readonly ObjectKey[]; readonly namespace: string },
): { items: object[]; proposed: string[]; passedOver: string[] } {
  const objects = new Map<string, CopiedObject>();
  for (const { kind, items } of lists)
    for (const item of items) {
      const [apiVersion, name] = partsOf(kind);
      objects.set(keyText({ ...keyOf(item), kind: name }), { ...item, apiVersion, kind: name });
    }
  const proposed: string[] = [];
  const passedOver: string[] = [];
  for (const document of documents) {
    const { kind, object } = proposedObject(document, namespace);
    const key = keyText(keyOf(object));
    if (kind === undefined) {
      passedOver.push(`${nameText(keyOf(object))}: a preview leaves it as it is; counted are ${kindsText()}`);
      continue;
    }
    proposed.push(key);
    objects.set(key, applied(objects.get(key), object));
  }
  for (const gone of without) {
    const ref = isNamespaced(gone.kind) ? gone : { ...gone, namespace: '' };
    if (!objects.delete(keyText(ref)))
      throw new MeshError(
        'MESH_INPUT',
        `the cluster has no ${nameText(ref)}, so that it cannot go without it`,
      );
  }
  if (proposed.length + without.length === 0)
    throw new MeshError('MESH_INPUT', `nothing is proposed: ${passedOver.join('; ')}`);
  return { items: [...objects.values()].map(lean), proposed, passedOver };
}

/** `kind` is undefined for what says nothing to the mesh. @throws MeshError MESH_INPUT for what is no object */
function proposedObject(
  document: unknown,
  namespace: string,
): { kind: (typeof PROPOSABLE)[number] | undefined; object: CopiedObject } {
  const { apiVersion, kind, metadata } = (document ?? {}) as Partial<CopiedObject>;
  if (typeof apiVersion !== 'string' || typeof kind !== 'string' || typeof metadata?.name !== 'string')
    throw new MeshError(
      'MESH_INPUT',
      `what is proposed has a document without ${typeof kind !== 'string' ? 'kind' : typeof apiVersion !== 'string' ? 'apiVersion' : 'metadata.name'}; allowed: an object of Kubernetes`,
    );
  const known = PROPOSABLE.find((each) => each === `${apiVersion}/${kind}`);
  const other = PROPOSABLE.find((each) => partsOf(each)[1] === kind);
  if (known === undefined && other !== undefined)
    throw new MeshError(
      'MESH_INPUT',
      `${kind} ${metadata.name}: apiVersion: ${JSON.stringify(apiVersion)}; allowed: ${partsOf(other)[0]}`,
    );
  const { namespace: _, ...rest } = metadata;
  const isOfCluster = known !== undefined && !placeOf(known).namespaced;
  return {
    kind: known,
    object: {
      ...(document as CopiedObject),
      metadata: { ...rest, ...(!isOfCluster && { namespace: metadata.namespace ?? namespace }) },
    },
  };
}

/** As `kubectl apply` would have it: labels that it did not set stay, its spec counts, what the API server chose stays. */
function applied(present: CopiedObject | undefined, proposed: CopiedObject): CopiedObject {
  if (present === undefined)
    return { ...proposed, metadata: { creationTimestamp: new Date().toISOString(), ...proposed.metadata } };
  const before = lastApplied(present);
  const merged = (field: 'labels' | 'annotations'): Json => {
    const own = Object.keys(before[field] ?? {});
    const kept = Object.entries((present.metadata[field] ?? {}) as Json).filter(
      ([key]) => !own.includes(key),
    );
    return { ...Object.fromEntries(kept), ...((proposed.metadata[field] ?? {}) as Json) };
  };
  const spec =
    proposed.kind === 'Service'
      ? { ...chosen(present.spec as Json | undefined), ...((proposed.spec ?? {}) as Json) }
      : proposed.spec;
  const { status: _, ...object } = proposed;
  return {
    ...object,
    metadata: { ...present.metadata, labels: merged('labels'), annotations: merged('annotations') },
    ...(spec !== undefined && { spec }),
    ...(present.status !== undefined && { status: present.status }),
  };
}

function lastApplied({ metadata }: CopiedObject): Json {
  const text = ((metadata['annotations'] ?? {}) as Json)[LAST_APPLIED];
  try {
    return (JSON.parse(String(text)) as Partial<CopiedObject>).metadata ?? {};
  } catch {
    return {};
  }
}

function chosen(spec: Json = {}): Json {
  return Object.fromEntries(CHOSEN.flatMap((field) => (field in spec ? [[field, spec[field]]] : [])));
}

/** Without what no controller reads: who wrote which field, and of pods what might hold secrets. */
function lean(object: CopiedObject): CopiedObject {
  const { managedFields: _, annotations, ...metadata } = object.metadata as Json;
  const kept = Object.entries((annotations ?? {}) as Json).filter(([key]) => key !== LAST_APPLIED);
  return {
    ...object,
    metadata: { ...(metadata as CopiedObject['metadata']), annotations: Object.fromEntries(kept) },
    ...(object.kind === 'Pod' && { spec: leanPod((object.spec ?? {}) as Json) }),
  };
}

function leanPod({ nodeName, serviceAccountName, hostNetwork, containers, initContainers }: Json): object {
  const lean = (list: unknown): object[] =>
    ((list ?? []) as readonly Json[]).map(({ name, ports, restartPolicy }) => ({
      name,
      ports,
      restartPolicy,
    }));
  return {
    ...{ nodeName, serviceAccountName, hostNetwork },
    ...{ containers: lean(containers), initContainers: lean(initContainers) },
  };
}

function isNamespaced(kind: string): boolean {
  const known = COPIED.find((each) => partsOf(each)[1] === kind);
  return known === undefined || placeOf(known).namespaced;
}

function partsOf(kind: string): [apiVersion: string, name: string] {
  const at = kind.lastIndexOf('/');
  return [kind.slice(0, at), kind.slice(at + 1)];
}

function kindsText(): string {
  return PROPOSABLE.map((kind) => partsOf(kind)[1]).join(', ');
}

/** As the controller names what it read of an API server. */
function keyText({ kind, namespace, name }: ObjectKey): string {
  return `${kind}/${namespace}/${name}`;
}

/** For a person. */
function nameText({ kind, namespace, name }: ObjectKey): string {
  return [kind, namespace, name].filter((part) => part !== '').join('/');
}
