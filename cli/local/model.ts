import {
  givenClusterIps,
  POD_FAMILIES_ANNOTATION,
  readPodFamilies,
  serviceFamilies,
  type IpFamily,
  type IpFamilyPolicy,
} from '../../lib/ip-families.ts';
import type { Labels } from '../../lib/enrolment.ts';
import { LocalMeshError } from './errors.ts';

/** Which container runs which command in place of its image: `local.loam.dev/command.<container>`. */
export const COMMAND_ANNOTATION_PREFIX = 'local.loam.dev/command.';

/** An address that the pod would like to have, as some network plugins know such a wish: for trying what reuse does. */
export const ADDRESS_ANNOTATION = 'local.loam.dev/address';

/** The little of a Pod that the local mesh, as its kubelet, acts on. */
export interface PodManifest {
  readonly namespace: string;
  readonly name: string;
  readonly labels: Labels;
  readonly annotations: Readonly<Record<string, string>>;
  readonly nodeName: string;
  /** Of which it has addresses, the primary first. */
  readonly families: readonly IpFamily[];
  readonly serviceAccount: string;
  readonly containers: readonly ContainerManifest[];
}

export interface ContainerManifest {
  readonly name: string;
  readonly env: Readonly<Record<string, string>>;
  /** TCP ports that the container opens; it is ready when it listens on all of them. */
  readonly ports: readonly number[];
}

/** The GatewayClass whose Gateways are waypoints. */
export const WAYPOINT_CLASS = 'loam-waypoint';

/** The little of a Gateway of class {@link WAYPOINT_CLASS} that its place needs. */
export interface GatewayManifest {
  readonly namespace: string;
  readonly name: string;
  readonly annotations: Readonly<Record<string, string>>;
}

/** The little of a Service that names and addresses need. */
export interface ServiceManifest {
  readonly namespace: string;
  readonly name: string;
  readonly headless: boolean;
  /** The primary first. */
  readonly families: readonly IpFamily[];
  /** Given in the manifest itself; for its other families the local mesh allots one. */
  readonly clusterIPs: readonly string[];
  readonly selector: Labels | undefined;
}

/** What the controller accepted, and so what shall run. */
export interface AcceptedObjects {
  readonly generation: number;
  readonly pods: readonly PodManifest[];
  readonly services: readonly ServiceManifest[];
  /** The waypoints. */
  readonly gateways: readonly GatewayManifest[];
  /** Labels by namespace name. */
  readonly namespaces: ReadonlyMap<string, Labels>;
}

/** `namespace/name` of a Pod, a Service or a Gateway. */
export function podKey(pod: { readonly namespace: string; readonly name: string }): string {
  return `${pod.namespace}/${pod.name}`;
}

type Json = Readonly<Record<string, unknown>>;

function object(value: unknown): Json {
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Json) : {};
}

function list(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? (value as unknown[]) : [];
}

function text(value: unknown): string | undefined {
  return typeof value === 'string' ? value : undefined;
}

function textMap(value: unknown): Record<string, string> {
  return Object.fromEntries(
    Object.entries(object(value)).filter((entry): entry is [string, string] => typeof entry[1] === 'string'),
  );
}

function named(value: unknown): { metadata: Json; spec: Json; name: string; namespace: string } {
  const metadata = object(object(value)['metadata']);
  const name = text(metadata['name']);
  if (name === undefined)
    throw new LocalMeshError('LOCAL_MESH_ANSWER', 'the controller lists an object without metadata.name');
  return {
    metadata,
    spec: object(object(value)['spec']),
    name,
    namespace: text(metadata['namespace']) ?? 'default',
  };
}

function readContainer(value: unknown): ContainerManifest {
  const container = object(value);
  const ports = list(container['ports'])
    .map(object)
    .filter((port) => (text(port['protocol']) ?? 'TCP') === 'TCP')
    .map((port) => port['containerPort'])
    .filter((port): port is number => typeof port === 'number');
  const env = list(container['env'])
    .map(object)
    .flatMap((entry) => {
      const name = text(entry['name']);
      return name === undefined ? [] : [[name, text(entry['value']) ?? ''] as const];
    });
  return { name: text(container['name']) ?? '', ports, env: Object.fromEntries(env) };
}

/** A Pod manifest as the controller accepted it (so its fields are checked already), read into what we act on. */
export function readPod(value: unknown): PodManifest | undefined {
  const { metadata, spec, name, namespace } = named(value);
  const annotations = textMap(metadata['annotations']);
  const nodeName = text(spec['nodeName']);
  if (nodeName === undefined) return undefined;
  return {
    namespace,
    name,
    labels: textMap(metadata['labels']),
    annotations,
    nodeName,
    families: readPodFamilies(annotations[POD_FAMILIES_ANNOTATION]) ?? ['IPv4', 'IPv6'],
    serviceAccount: text(spec['serviceAccountName']) ?? 'default',
    containers: list(spec['containers']).map(readContainer),
  };
}

function readService(value: unknown): ServiceManifest {
  const { spec, name, namespace } = named(value);
  const selector = textMap(spec['selector']);
  // The controller has checked all of it.
  const families = {
    ipFamilyPolicy: text(spec['ipFamilyPolicy']) as IpFamilyPolicy | undefined,
    ipFamilies: list(spec['ipFamilies']) as IpFamily[],
    clusterIP: text(spec['clusterIP']),
    clusterIPs: list(spec['clusterIPs']) as string[],
    selector,
  };
  return {
    namespace,
    name,
    headless: families.clusterIP === 'None' || families.clusterIPs[0] === 'None',
    families: serviceFamilies(families),
    clusterIPs: givenClusterIps(families),
    selector: Object.keys(selector).length > 0 ? selector : undefined,
  };
}

function readGateway(value: unknown): GatewayManifest | undefined {
  const { metadata, spec, name, namespace } = named(value);
  if (spec['gatewayClassName'] !== WAYPOINT_CLASS) return undefined;
  return { namespace, name, annotations: textMap(metadata['annotations']) };
}

/** Reads one snapshot of the controller's `GET /v1/objects`. */
export function readAcceptedObjects(snapshot: unknown): AcceptedObjects {
  const root = object(snapshot);
  return {
    generation: Number(root['generation'] ?? 0),
    pods: list(root['pods'])
      .map(readPod)
      .filter((pod) => pod !== undefined),
    services: list(root['services']).map(readService),
    gateways: list(root['gateways'])
      .map(readGateway)
      .filter((gateway) => gateway !== undefined),
    namespaces: new Map(
      list(root['namespaces']).map((value) => {
        const { metadata, name } = named(value);
        return [name, textMap(metadata['labels'])];
      }),
    ),
  };
}

/** Whether the labels carry all of the selector's. */
export function selects(selector: Labels, labels: Labels): boolean {
  return Object.entries(selector).every(([key, value]) => labels[key] === value);
}

/**
 * What of a pod cannot change while it runs. Two manifests with the same text need no new pod: labels and
 * annotations other than commands may change in place, as in Kubernetes.
 */
export function immutablePart(pod: PodManifest): string {
  const commands = Object.entries(pod.annotations)
    .filter(([key]) => key.startsWith(COMMAND_ANNOTATION_PREFIX))
    .sort(([a], [b]) => (a < b ? -1 : 1));
  return JSON.stringify([pod.nodeName, pod.families, pod.serviceAccount, pod.containers, commands]);
}
