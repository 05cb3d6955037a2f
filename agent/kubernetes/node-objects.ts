/** What the agent keeps of the API's Pods and Namespaces: little, checked once, when it arrives. */
import { isRecord, type KubeMetadata, type KubeResource } from '../../lib/kubernetes/resource.ts';
import type { Labels } from '../../lib/enrolment.ts';
import { probePorts } from './probe-ports.ts';
import { canonicalIp, ipFamily } from '../../lib/linux/ip.ts';

/** Of labels and annotations, Loam's own. */
const OWN = 'loam.dev/';
/** On the API's copy of a static pod: the uid by which its kubelet and its cgroup know it. */
const STATIC_UID = 'kubernetes.io/config.hash';
/** Says the same of a pod that a kubelet made the API's copy of. A pod that anybody else makes with it, the kubelet does not run. */
const MIRROR = 'kubernetes.io/config.mirror';
const STATIC_HASH = /^[0-9a-f]{32}$/;

export interface NodePod extends KubeResource {
  readonly uid: string;
  /** The uid in the name of its cgroup. */
  readonly cgroupUid: string;
  readonly serviceAccount: string;
  readonly hostNetwork: boolean;
  /** Undefined: the cluster's ordinary runtime. */
  readonly runtimeClass: string | undefined;
  /** None while it has no sandbox. */
  readonly ips: readonly string[];
  /** All its containers have ended for good. */
  readonly ended: boolean;
  /** It is being deleted. */
  readonly leaving: boolean;
  readonly labels: Labels;
  readonly annotations: Readonly<Record<string, string>>;
  /** Where its kubelet dials it, by its own specification. */
  readonly probePorts: readonly number[];
}

export interface NodeNamespace extends KubeResource {
  readonly labels: Labels;
}

/** Of a Pod. What is not as the API promises counts as absent: then it has no address, and cannot be enrolled. */
export function nodePod(object: KubeResource): NodePod {
  const { metadata, spec, status } = object as KubeResource & { spec?: unknown; status?: unknown };
  const wanted = isRecord(spec) ? spec : {};
  const is = isRecord(status) ? status : {};
  const uid = text(metadata.uid) ?? '';
  const hash = text(metadata.annotations?.[STATIC_UID]);
  const isCopy = hash !== undefined && STATIC_HASH.test(hash) && metadata.annotations?.[MIRROR] === hash;
  return {
    metadata: named(metadata),
    uid,
    cgroupUid: isCopy ? hash : uid,
    serviceAccount: text(wanted['serviceAccountName']) ?? 'default',
    hostNetwork: wanted['hostNetwork'] === true,
    runtimeClass: text(wanted['runtimeClassName']),
    ips: podIps(is),
    ended: is['phase'] === 'Succeeded' || is['phase'] === 'Failed',
    leaving: metadata.deletionTimestamp !== undefined,
    labels: own(metadata.labels),
    annotations: own(metadata.annotations),
    probePorts: probePorts(wanted),
  };
}

/** Of a Namespace. */
export function nodeNamespace({ metadata }: KubeResource): NodeNamespace {
  return { metadata: named(metadata), labels: own(metadata.labels) };
}

function named({ name, namespace, resourceVersion }: KubeMetadata): KubeMetadata {
  return {
    name,
    ...(namespace !== undefined && { namespace }),
    ...(resourceVersion !== undefined && { resourceVersion }),
  };
}

/** At most one of each family, the primary first: as the API has them in podIPs. */
function podIps(status: Readonly<Record<string, unknown>>): string[] {
  const listed = Array.isArray(status['podIPs']) ? status['podIPs'] : [{ ip: status['podIP'] }];
  return oneOfEachFamily(listed.map((each: unknown) => (isRecord(each) ? each['ip'] : undefined)));
}

/** Of what may be addresses, those that are, in the form of lib/linux/ip.ts: the first of each family. */
export function oneOfEachFamily(values: readonly unknown[]): string[] {
  const ips = new Map<number, string>();
  for (const value of values) {
    const ip = typeof value === 'string' ? canonicalIp(value) : undefined;
    const family = ip === undefined ? undefined : ipFamily(ip);
    if (ip !== undefined && family !== undefined && !ips.has(family)) ips.set(family, ip);
  }
  return [...ips.values()];
}

function own(values: unknown): Labels {
  if (!isRecord(values)) return {};
  const kept = Object.entries(values).filter(
    (each): each is [string, string] => each[0].startsWith(OWN) && typeof each[1] === 'string',
  );
  return Object.fromEntries(kept);
}

function text(value: unknown): string | undefined {
  return typeof value === 'string' && value !== '' ? value : undefined;
}
