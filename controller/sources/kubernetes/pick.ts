import type { KubeMetadata, KubeResource } from '../../../lib/kubernetes/resource.ts';
import { defined, type Json, map, maps, scalars, textMap, texts } from './fields.ts';
import type { ReadKind } from './kinds.ts';

/** What is kept in memory of one object of the API. */
export interface Picked extends KubeResource {
  /** As the API server has it now; annotations and owners are with the object. */
  readonly metadata: KubeMetadata;
  /** The object as the compiler reads it: nothing in it that changes with its status. Not validated. */
  readonly object: Json;
  /** Of a Pod: where it is. */
  readonly place?: PodPlace;
  /** Of kinds into whose status Loam writes: the status as it is. */
  readonly status?: Json;
}

export interface PodPlace {
  readonly node: string | undefined;
  readonly ips: readonly string[];
  /** Whether it takes connections: ready, and not on its way out. */
  readonly ready: boolean;
}

/** By kubectl: a copy of the object within itself. */
const COPY = 'kubectl.kubernetes.io/last-applied-configuration';
const OWN = 'loam.dev/';
const ENDED = ['Succeeded', 'Failed'];

/**
 * Keeps of an object what the compiler reads. Of the kinds that the API server knows by itself, these are named fields; of all
 * others the whole spec, since a field of a policy that Loam does not know must be seen, to be refused.
 *
 * @throws Error where a field is of another type than the API promises
 */
export function pick({ kind, apiVersion }: ReadKind, resource: KubeResource): Picked {
  const data = resource as unknown as Json;
  const metadata = versionOf(resource);
  const make = (rest: object): Json => ({ apiVersion, kind, ...rest });
  switch (kind) {
    case 'Namespace':
    case 'ServiceAccount':
      return { metadata, object: make({ metadata: coreMetadata(data) }) };
    case 'Service':
      return {
        metadata,
        object: make({ metadata: coreMetadata(data), spec: serviceSpec(map(data, 'spec')) }),
      };
    case 'Pod':
      return pickPod(data, metadata, make);
    case 'Node':
      return { metadata, object: make(nodeFields(data)) };
    case 'EndpointSlice':
      return { metadata, object: make(sliceFields(data)) };
    default: {
      const { status } = data;
      const rest = Object.fromEntries(Object.entries(data).filter(([field]) => !OUTER.includes(field)));
      return {
        metadata,
        object: make({ metadata: wholeMetadata(data), ...rest }),
        ...(status !== undefined && status !== null && { status: map(data, 'status') }),
      };
    }
  }
}

const OUTER = ['apiVersion', 'kind', 'metadata', 'status'];

function versionOf({ metadata }: KubeResource): KubeMetadata {
  const { name, namespace, uid, resourceVersion, generation, deletionTimestamp } = metadata;
  return defined({ name, namespace, uid, resourceVersion, generation, deletionTimestamp });
}

function coreMetadata(data: Json): object {
  const metadata = map(data, 'metadata');
  const annotations = Object.entries(textMap(metadata, 'annotations') ?? {}).filter(([key]) =>
    key.includes(OWN),
  );
  const owners = maps(metadata, 'ownerReferences').filter(
    ({ controller, kind }) => controller === true || kind === 'Gateway',
  );
  return defined({
    ...scalars(metadata, 'string', ['name', 'namespace', 'creationTimestamp']),
    labels: textMap(metadata, 'labels'),
    annotations: annotations.length === 0 ? undefined : Object.fromEntries(annotations),
    ownerReferences:
      owners.length === 0
        ? undefined
        : owners.map((owner) => ({
            ...scalars(owner, 'string', ['kind', 'name', 'uid']),
            ...scalars(owner, 'boolean', ['controller']),
          })),
  });
}

/** Without what changes by itself or is as large as the object. */
function wholeMetadata(data: Json): object {
  const metadata = map(data, 'metadata');
  const annotations = Object.entries(textMap(metadata, 'annotations') ?? {}).filter(([key]) => key !== COPY);
  return defined({
    ...scalars(metadata, 'string', ['name', 'namespace', 'creationTimestamp']),
    labels: textMap(metadata, 'labels'),
    annotations: annotations.length === 0 ? undefined : Object.fromEntries(annotations),
  });
}

function serviceSpec(spec: Json): object {
  const ports = maps(spec, 'ports').map((port) => {
    const { targetPort } = port;
    return defined({
      ...scalars(port, 'string', ['name', 'protocol', 'appProtocol']),
      ...scalars(port, 'number', ['port']),
      ...scalars(port, typeof targetPort === 'string' ? 'string' : 'number', ['targetPort']),
    });
  });
  return defined({
    ...scalars(spec, 'string', [
      'type',
      'clusterIP',
      'ipFamilyPolicy',
      'internalTrafficPolicy',
      'trafficDistribution',
    ]),
    ...scalars(spec, 'boolean', ['publishNotReadyAddresses']),
    clusterIPs: texts(spec, 'clusterIPs'),
    ipFamilies: texts(spec, 'ipFamilies'),
    selector: textMap(spec, 'selector'),
    ports: ports.length === 0 ? undefined : ports,
  });
}

/** Without what a kubelet says of itself every few seconds. */
function nodeFields(data: Json): object {
  const addresses = maps(map(data, 'status'), 'addresses').map((each) =>
    scalars(each, 'string', ['type', 'address']),
  );
  return {
    metadata: coreMetadata(data),
    ...(addresses.length > 0 && { status: { addresses } }),
  };
}

function sliceFields(data: Json): object {
  const endpoints = maps(data, 'endpoints').map((endpoint) => {
    const conditions = scalars(map(endpoint, 'conditions'), 'boolean', ['ready', 'serving', 'terminating']);
    const targetRef = scalars(map(endpoint, 'targetRef'), 'string', ['kind', 'namespace', 'name']);
    return {
      addresses: texts(endpoint, 'addresses') ?? [],
      ...scalars(endpoint, 'string', ['nodeName', 'zone']),
      ...(Object.keys(conditions).length > 0 && { conditions }),
      ...(Object.keys(targetRef).length > 0 && { targetRef }),
    };
  });
  return {
    metadata: coreMetadata(data),
    ...scalars(data, 'string', ['addressType']),
    endpoints,
    ports: maps(data, 'ports').map((port) => ({
      ...scalars(port, 'string', ['name', 'protocol', 'appProtocol']),
      ...scalars(port, 'number', ['port']),
    })),
  };
}

function pickPod(data: Json, metadata: KubeMetadata, make: (rest: object) => Json): Picked {
  const spec = map(data, 'spec');
  const status = map(data, 'status');
  const { phase } = scalars(status, 'string', ['phase']) as { phase?: string };
  const initContainers = containers(spec, 'initContainers');
  const object = make({
    metadata: coreMetadata(data),
    spec: defined({
      ...scalars(spec, 'string', ['nodeName', 'serviceAccountName']),
      ...scalars(spec, 'boolean', ['hostNetwork']),
      containers: containers(spec, 'containers'),
      initContainers: initContainers.length === 0 ? undefined : initContainers,
    }),
    // Other phases come and go with the status alone.
    ...(phase !== undefined && ENDED.includes(phase) && { status: { phase } }),
  });
  const { nodeName } = spec as { nodeName?: string };
  return {
    metadata,
    object,
    place: { node: nodeName, ips: podIps(status), ready: isReady(status, metadata) },
  };
}

/** Of the containers those with a port that has a name: by these alone Services find ports. */
function containers(spec: Json, field: string): object[] {
  return maps(spec, field).flatMap((container) => {
    const ports = maps(container, 'ports').filter(({ name }) => name !== undefined);
    if (ports.length === 0) return [];
    return [
      {
        ...scalars(container, 'string', ['name', 'restartPolicy']),
        ports: ports.map((port) => ({
          ...scalars(port, 'string', ['name', 'protocol']),
          ...scalars(port, 'number', ['containerPort']),
        })),
      },
    ];
  });
}

function podIps(status: Json): string[] {
  const all = maps(status, 'podIPs').flatMap(({ ip }) => (typeof ip === 'string' ? [ip] : []));
  const { podIP } = status;
  return all.length === 0 && typeof podIP === 'string' ? [podIP] : all;
}

/** As EndpointSlices have it: a pod that is being deleted gets no new connections (KEP-1672). */
function isReady(status: Json, { deletionTimestamp }: KubeMetadata): boolean {
  if (deletionTimestamp !== undefined) return false;
  return maps(status, 'conditions').some((each) => each['type'] === 'Ready' && each['status'] === 'True');
}

/** Whether two states of an object are the same to the compiler. */
export function sameObject(a: Picked | undefined, b: Picked | undefined): boolean {
  return a === b || JSON.stringify(a?.object) === JSON.stringify(b?.object);
}

/** Whether two states of a pod are at the same place. */
export function samePlace(a: Picked | undefined, b: Picked | undefined): boolean {
  return a?.metadata.uid === b?.metadata.uid && JSON.stringify(a?.place) === JSON.stringify(b?.place);
}
