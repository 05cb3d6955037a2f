import { create } from '@bufbuild/protobuf';
import {
  NetworkMode,
  TunnelProtocol,
  type Workload,
  WorkloadSchema,
  WorkloadStatus,
  WorkloadType,
} from '../../proto/gen/istio/workload/workload_pb.js';
import { isEnrolled } from '../../lib/enrolment.ts';
import type { Identity } from '../../lib/spiffe.ts';
import { namespaceOf, type Namespace, type Pod, type Service } from '../model/objects.ts';
import type { Assignments } from '../sources/assignments.ts';
import { addressBytes, canonicalAddress } from './addresses.ts';
import type { Localities } from './localities.ts';
import { type EntryMembership, portList } from './service-entries.ts';
import {
  hostnameOf,
  isHeadless,
  targetPortOf,
  tcpPorts,
  type WaypointLookup,
  waypointOf,
} from './services.ts';

/** Left out of resources, as istiod does. */
export const DEFAULT_TRUST_DOMAIN = 'cluster.local';
/** Kubernetes has one of this name in every namespace, for pods that name none. */
export const DEFAULT_ACCOUNT = 'default';
const ENDED_PHASES = ['Succeeded', 'Failed'];

/** Where a pod runs, as far as that is known. */
export interface Placement {
  readonly addresses: readonly string[];
  readonly node: string;
  readonly ready: boolean;
}

export type Placed =
  | { readonly state: 'placed'; readonly placement: Placement }
  | { readonly state: 'pending'; readonly reason: string };

/** Assignments win over what the manifest says of itself. */
export function placementOf(pod: Pod, assignments: Assignments): Placed {
  const { status, spec } = pod;
  if (status?.phase !== undefined && ENDED_PHASES.includes(status.phase))
    return { state: 'pending', reason: `the pod has ended (${status.phase})` };
  const assigned = assignments.pods[`${namespaceOf(pod)}/${pod.metadata.name}`];
  if (assigned !== undefined) {
    const { ips, node, ready } = assigned;
    const addresses = [...new Set(ips.map(canonicalAddress))];
    return { state: 'placed', placement: { addresses, node, ready: ready ?? false } };
  }
  const own = status?.podIPs?.map(({ ip }) => ip) ?? (status?.podIP === undefined ? [] : [status.podIP]);
  if (spec.nodeName === undefined) return { state: 'pending', reason: 'no node yet (spec.nodeName)' };
  if (own.length === 0) return { state: 'pending', reason: 'no address yet' };
  const condition = status?.conditions?.find(({ type }) => type === 'Ready');
  const ready = condition === undefined ? true : condition.status === 'True';
  return {
    state: 'placed',
    placement: { addresses: [...new Set(own.map(canonicalAddress))], node: spec.nodeName, ready },
  };
}

export function identityOf(pod: Pod, trustDomain: string): Identity {
  return {
    trustDomain,
    namespace: namespaceOf(pod),
    serviceAccount: pod.spec.serviceAccountName ?? DEFAULT_ACCOUNT,
  };
}

/** Whether the pod is of the mesh. A pod in its node's own network cannot be redirected, so it never is. */
export function isMeshPod(pod: Pod, namespace: Namespace | undefined): boolean {
  return pod.spec.hostNetwork !== true && isEnrolled(pod.metadata.labels, namespace?.metadata.labels);
}

export interface WorkloadContext {
  readonly clusterId: string;
  readonly trustDomain: string;
  readonly namespace: Namespace | undefined;
  /** The Services of its namespace that lead to it. */
  readonly services: readonly Service[];
  /** Services of other namespaces that lead to it. */
  readonly foreignServices: readonly Service[];
  /** What it serves of ServiceEntries. */
  readonly entries: readonly EntryMembership[];
  readonly localities: Localities;
  readonly policies: readonly string[];
  readonly gateways: WaypointLookup;
}

/** Compiles a pod that runs somewhere. */
export function compileWorkload(pod: Pod, placement: Placement, context: WorkloadContext): Workload {
  const namespace = namespaceOf(pod);
  const { name, labels = {} } = pod.metadata;
  const workloadName = workloadNameOf(pod);
  const { trustDomain, clusterId } = context;
  const waypoint = waypointOfPod(pod, context);
  const locality = context.localities.get(placement.node);
  return create(WorkloadSchema, {
    uid: workloadUid(clusterId, namespace, name),
    name,
    namespace,
    addresses: placement.addresses.map(addressBytes),
    tunnelProtocol: isMeshPod(pod, context.namespace) ? TunnelProtocol.HBONE : TunnelProtocol.NONE,
    // Left out when it is the default, as istiod does.
    trustDomain: trustDomain === DEFAULT_TRUST_DOMAIN ? '' : trustDomain,
    serviceAccount: pod.spec.serviceAccountName ?? DEFAULT_ACCOUNT,
    node: placement.node,
    canonicalName: labels['app.kubernetes.io/name'] ?? labels['app'] ?? workloadName,
    canonicalRevision: labels['app.kubernetes.io/version'] ?? labels['version'] ?? 'latest',
    workloadType: WorkloadType.POD,
    workloadName,
    services: {
      ...servicesOf(pod, [...context.services, ...context.foreignServices]),
      ...Object.fromEntries(context.entries.map(({ key, ports }) => [key, portList(ports)])),
    },
    authorizationPolicies: [...context.policies],
    status: placement.ready ? WorkloadStatus.HEALTHY : WorkloadStatus.UNHEALTHY,
    clusterId,
    networkMode: pod.spec.hostNetwork === true ? NetworkMode.HOST_NETWORK : NetworkMode.STANDARD,
    ...(waypoint === undefined ? {} : { waypoint }),
    ...(locality === undefined ? {} : { locality }),
  });
}

/**
 * The waypoint that carries what is sent to the pod's address: its own, or that of a headless Service, whose clients
 * dial pods. Without it they would be cut off, since the pod takes that Service's ports from the waypoint alone.
 */
function waypointOfPod(pod: Pod, { namespace, services, gateways }: WorkloadContext): Workload['waypoint'] {
  const name = namespaceOf(pod);
  const own = waypointOf('workload', name, pod.metadata.labels, namespace, gateways);
  if (own !== undefined) return own;
  return services
    .filter(isHeadless)
    .sort((a, b) => (a.metadata.name < b.metadata.name ? -1 : 1))
    .map(({ metadata }) => waypointOf('service', name, metadata.labels, namespace, gateways))
    .find((waypoint) => waypoint !== undefined);
}

export function workloadUid(clusterId: string, namespace: string, name: string): string {
  return `${clusterId}//Pod/${namespace}/${name}`;
}

function servicesOf(pod: Pod, services: readonly Service[]): Workload['services'] {
  const all: Workload['services'] = {};
  for (const service of services) {
    const ports = tcpPorts(service).flatMap((port) => {
      const targetPort = targetPortOf(port, (name) => containerPort(pod, name));
      return targetPort === undefined ? [] : [{ servicePort: port.port, targetPort }];
    });
    const namespace = namespaceOf(service);
    all[`${namespace}/${hostnameOf(namespace, service.metadata.name)}`] = {
      $typeName: 'istio.workload.PortList',
      ports: ports.map((p) => ({ $typeName: 'istio.workload.Port', appProtocol: 0, ...p })),
    };
  }
  return all;
}

/** Kubernetes looks at containers and at init containers that keep running (sidecars). */
export function containerPort(pod: Pod, name: string): number | undefined {
  const sidecars = (pod.spec.initContainers ?? []).filter(({ restartPolicy }) => restartPolicy === 'Always');
  for (const { ports = [] } of [...pod.spec.containers, ...sidecars]) {
    const found = ports.find((port) => port.name === name && (port.protocol ?? 'TCP') === 'TCP');
    if (found !== undefined) return found.containerPort;
  }
  return undefined;
}

/** The name of what made the pod: a Deployment's by its ReplicaSet's, a CronJob's by its Job's, else the pod's own. */
function workloadNameOf(pod: Pod): string {
  const owner = pod.metadata.ownerReferences?.find(({ controller }) => controller === true);
  if (owner === undefined) return pod.metadata.name;
  const hash: string | undefined = pod.metadata.labels?.['pod-template-hash'];
  if (owner.kind === 'ReplicaSet' && hash !== undefined && owner.name.endsWith(`-${hash}`)) {
    return owner.name.slice(0, -hash.length - 1);
  }
  if (owner.kind === 'Job') return owner.name.replace(/-\d{8,10}$/, '');
  return owner.name;
}
