import { create } from '@bufbuild/protobuf';
import {
  NetworkMode,
  TunnelProtocol,
  type Workload,
  WorkloadSchema,
  WorkloadStatus,
  WorkloadType,
} from '../../proto/gen/istio/workload/workload_pb.js';
import { MANAGED_BY_LABEL, SELECTOR_CONTROLLER, SERVICE_NAME_LABEL } from '../model/discovery.ts';
import type { SliceEndpoint } from '../model/discovery.ts';
import { type EndpointSlice, namespaceOf, type Pod, type Service } from '../model/objects.ts';
import { addressBytes, canonicalAddress } from './addresses.ts';
import type { Localities } from './localities.ts';
import { hostnameOf, isHeadless, serviceKey, tcpPorts } from './services.ts';

/** A Service as the endpoints of one slice serve it: its ports lead where the slice says. */
export interface ServedSlice {
  readonly slice: EndpointSlice;
  readonly service: Service;
}

/** One address of a slice. */
interface SliceAddress extends ServedSlice {
  readonly endpoint: SliceEndpoint;
  readonly address: string;
}

/** What a pod serves because a slice names it. */
export interface SliceMembership {
  /** Of the pod's own namespace: as those whose selector it has. */
  readonly own: readonly Service[];
  /** Of other namespaces: they lead to the pod, and what is attached to them says nothing of it. */
  readonly foreign: readonly Service[];
}

/** Where Services are by EndpointSlices that somebody else than their selector keeps. Pure data. */
export class SliceIndex {
  readonly #byAddress = new Map<string, SliceAddress[]>();
  readonly #served: ServedSlice[] = [];

  /** @param services by `<namespace>/<name>`: those that the mesh carries */
  constructor(slices: readonly EndpointSlice[], services: ReadonlyMap<string, Service>) {
    for (const slice of slices) {
      const service = servedBy(slice, services);
      if (service === undefined) continue;
      this.#served.push({ slice, service });
      for (const endpoint of slice.endpoints ?? [])
        for (const text of endpoint.addresses) {
          const address = canonicalAddress(text);
          const all = this.#byAddress.get(address);
          const one = { slice, service, endpoint, address };
          if (all === undefined) this.#byAddress.set(address, [one]);
          else all.push(one);
        }
    }
  }

  /** The slices that count, each with its Service. */
  get served(): readonly ServedSlice[] {
    return this.#served;
  }

  /** Whether an endpoint has that address (canonical). */
  names(address: string): boolean {
    return this.#byAddress.has(address);
  }

  /**
   * The Services that a pod serves by slices: those that take connections by the slice's word (`ready`).
   *
   * @param addresses the pod's, canonical; its node's where it is on that network
   * @param selecting the Services whose selector it has: their ports are as their selectors' slices say
   */
  membershipOf(pod: Pod, addresses: readonly string[], selecting: readonly Service[]): SliceMembership {
    const namespace = namespaceOf(pod);
    const known = new Set(selecting.map(keyOfService));
    const own: Service[] = [];
    const foreign: Service[] = [];
    for (const { service, endpoint } of addresses.flatMap((each) => this.#byAddress.get(each) ?? [])) {
      if (known.has(keyOfService(service)) || !isReady(endpoint) || !means(endpoint, pod)) continue;
      known.add(keyOfService(service));
      (namespaceOf(service) === namespace ? own : foreign).push(service);
    }
    return { own: own.sort(byName), foreign: foreign.sort(byName) };
  }
}

/** The Service of a slice, with the slice's ports; undefined where it has none, or is not ours to read. */
function servedBy(slice: EndpointSlice, services: ReadonlyMap<string, Service>): Service | undefined {
  const { labels = {} } = slice.metadata;
  const name = labels[SERVICE_NAME_LABEL];
  if (name === undefined || labels[MANAGED_BY_LABEL] === SELECTOR_CONTROLLER || slice.addressType === 'FQDN')
    return undefined;
  const service = services.get(`${namespaceOf(slice)}/${name}`);
  if (service === undefined) return undefined;
  const ports = tcpPorts(service).flatMap((port) => {
    const found = (slice.ports ?? []).find(
      (each) => (each.name ?? '') === (port.name ?? '') && (each.protocol ?? 'TCP') === 'TCP',
    );
    return found?.port === undefined ? [] : [{ ...port, targetPort: found.port }];
  });
  return { ...service, spec: { ...service.spec, ports } };
}

/** Nothing said means ready (discovery.k8s.io/v1). One that terminates is not ready, unless its Service wants it so. */
function isReady({ conditions }: SliceEndpoint): boolean {
  return conditions?.ready !== false;
}

/**
 * Whether an endpoint with a pod's address is that pod: it names it, or nobody. Another name is of who had the address, or of
 * another pod on the same node's network.
 */
function means({ targetRef }: SliceEndpoint, pod: Pod): boolean {
  if (targetRef?.kind !== 'Pod') return pod.spec.hostNetwork !== true;
  return targetRef.name === pod.metadata.name && (targetRef.namespace ?? '') === namespaceOf(pod);
}

export interface EndpointContext {
  readonly clusterId: string;
  /** Whether a pod of the cluster has that address: then it is no endpoint of its own. */
  readonly isPod: (address: string) => boolean;
  /** Whether it is a pod's, a Service's or a node's: no name that somebody outside answers for may lead there. */
  readonly isOfCluster: (address: string) => boolean;
  /** Takes an address for this endpoint alone; false where it is somebody's already. */
  readonly claim: (address: string) => boolean;
  readonly localities: Localities;
}

/** An endpoint that is no pod. */
export interface CompiledEndpoint {
  readonly workload: Workload;
  /** By which it is found: none where others have its address too. */
  readonly ips: readonly string[];
}

/**
 * The endpoints of a slice that are no pods: machines outside of the cluster, or a node's own network. They are reached in
 * plaintext, through their Service. Those of a headless Service are found by their address, too, since its clients dial that.
 */
export function compileSlice({ slice, service }: ServedSlice, context: EndpointContext): CompiledEndpoint[] {
  const namespace = namespaceOf(slice);
  const { name } = service.metadata;
  const key = serviceKey({ namespace, hostname: hostnameOf(namespace, name) });
  const ports = tcpPorts(service).map(({ port, targetPort }) => ({
    servicePort: port,
    targetPort: Number(targetPort),
  }));
  const found = new Map<string, CompiledEndpoint>();
  for (const endpoint of slice.endpoints ?? []) {
    // Of several addresses the first counts: they are of one endpoint, and consumers take one (discovery.k8s.io/v1).
    const address = canonicalAddress(endpoint.addresses[0] ?? '');
    if (address === '' || found.has(address) || context.isPod(address)) continue;
    // What names a pod is a pod that is not known yet, or that has ended.
    if (endpoint.targetRef?.kind === 'Pod') continue;
    const isFound = isHeadless(service) && context.claim(address);
    const locality = localityOf(endpoint, context.localities);
    found.set(address, {
      ips: isFound ? [address] : [],
      workload: create(WorkloadSchema, {
        uid: `${context.clusterId}/discovery.k8s.io/EndpointSlice/${namespace}/${slice.metadata.name}/${address}`,
        name: slice.metadata.name,
        namespace,
        addresses: [addressBytes(address)],
        tunnelProtocol: TunnelProtocol.NONE,
        node: endpoint.nodeName ?? '',
        canonicalName: name,
        canonicalRevision: 'latest',
        workloadType: WorkloadType.POD,
        workloadName: name,
        services: { [key]: { ports } },
        status: isReady(endpoint) ? WorkloadStatus.HEALTHY : WorkloadStatus.UNHEALTHY,
        clusterId: context.clusterId,
        // What may be a node's own address is nobody's alone.
        networkMode: isFound ? NetworkMode.STANDARD : NetworkMode.HOST_NETWORK,
        ...(locality !== undefined && { locality }),
      }),
    });
  }
  return [...found.values()];
}

function localityOf({ nodeName = '', zone }: SliceEndpoint, localities: Localities): Workload['locality'] {
  const known = localities.get(nodeName);
  if (known !== undefined || zone === undefined) return known;
  return { $typeName: 'istio.workload.Locality', region: '', zone, subzone: '' };
}

function keyOfService(service: Service): string {
  return `${namespaceOf(service)}/${service.metadata.name}`;
}

function byName(a: Service, b: Service): number {
  return keyOfService(a) < keyOfService(b) ? -1 : 1;
}
