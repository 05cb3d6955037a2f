import { create } from '@bufbuild/protobuf';
import {
  AppProtocol,
  IPFamilies,
  LoadBalancing_Mode,
  NetworkMode,
  type Service as MeshService,
  Service_Visibility,
  ServiceSchema,
  TunnelProtocol,
  type Workload,
  WorkloadSchema,
  WorkloadStatus,
  WorkloadType,
} from '../../proto/gen/istio/workload/workload_pb.js';
import { isIP } from 'node:net';
import { familyOf } from '../../lib/ip-families.ts';
import { labelsMatch } from '../model/labels.ts';
import { namespaceOf, type Pod, type ServiceEntry } from '../model/objects.ts';
import type { EntryEndpoint } from '../model/service-entry.ts';
import type { ResolvedNames } from '../names/resolver.ts';
import { addressBytes, blockOf, canonicalAddress } from './addresses.ts';
import type { Condition } from './outcomes.ts';
import { accepted, enforced, notAccepted, notEnforced } from './policy-conditions.ts';
import { familiesOnWire, serviceKey } from './services.ts';
import type { CompiledEndpoint, EndpointContext } from './slices.ts';
import { gatewayNameOf } from './waypoints/labels.ts';

/** One host of an entry, as a service of the mesh. */
export interface EntryService {
  readonly entry: ServiceEntry;
  readonly key: string;
  readonly service: MeshService;
  /** The single addresses among those that stand for it. */
  readonly ips: readonly string[];
}

/** A service that a pod serves beside those of Kubernetes, with the ports that lead there. */
export interface EntryMembership {
  readonly key: string;
  readonly ports: readonly { readonly servicePort: number; readonly targetPort: number }[];
}

const NO_NAMES: ResolvedNames = new Map();

const PROTOCOLS: Readonly<Record<string, AppProtocol>> = {
  HTTP: AppProtocol.HTTP11,
  HTTP2: AppProtocol.HTTP2,
  GRPC: AppProtocol.GRPC,
  'GRPC-WEB': AppProtocol.GRPC,
  TCP: AppProtocol.TCP,
  MONGO: AppProtocol.TCP,
  TLS: AppProtocol.TLS,
  HTTPS: AppProtocol.TLS,
};

/** Why an entry cannot be in force; undefined where it is. */
export function entryProblem(entry: ServiceEntry): string | undefined {
  if (gatewayNameOf(namespaceOf(entry), entry.metadata.labels, undefined) !== undefined)
    return 'no waypoint can stand before a ServiceEntry: take the label loam.dev/use-waypoint away';
  return undefined;
}

/** Whether it leads to names. */
function isByName({ spec: { resolution } }: ServiceEntry): boolean {
  return resolution === 'DNS' || resolution === 'DNS_ROUND_ROBIN';
}

/** The names that an entry leads to (Istio: with resolution DNS the endpoints', else its hosts). */
export function entryNames(entry: ServiceEntry): string[] {
  if (!isByName(entry)) return [];
  const { hosts, endpoints = [], workloadSelector } = entry.spec;
  if (workloadSelector !== undefined) return [];
  if (endpoints.length === 0) return [...hosts];
  return endpoints.flatMap(({ address = '' }) => (isIP(address) === 0 ? [address] : []));
}

/** The names of all entries, those of each namespace in turn: where there are too many, one author's do not take the places of all others. */
export function namesInTurn(entries: readonly ServiceEntry[]): ReadonlySet<string> {
  const found = new Set<string>();
  let lists = [...Map.groupBy(entries, namespaceOf).values()].map((own) => own.flatMap(entryNames));
  for (let i = 0; lists.length > 0; i += 1) {
    lists = lists.filter((names) => i < names.length);
    for (const names of lists) found.add(names[i] ?? '');
  }
  return found;
}

/** What an entry's status says. */
export function entryConditions(
  entry: ServiceEntry,
  names: ResolvedNames = NO_NAMES,
  conflict?: string,
): Condition[] {
  const problem = entryProblem(entry);
  if (problem !== undefined)
    return [notAccepted('UnsupportedValue', problem), notEnforced('UnsupportedValue', problem)];
  if (conflict !== undefined)
    return [notAccepted('Conflicted', conflict), notEnforced('Conflicted', conflict)];
  const unresolved = entryNames(entry).filter((name) => (names.get(name)?.now.length ?? 0) === 0);
  if (unresolved.length > 0)
    return [
      accepted(),
      notEnforced('NotResolved', `DNS has no address that can be dialled for ${unresolved.join(', ')}`),
    ];
  return [accepted(), enforced(describe(entry))];
}

function describe(entry: ServiceEntry): string {
  const { addresses = [], resolution = 'NONE', endpoints = [], workloadSelector } = entry.spec;
  if (resolution === 'NONE')
    return addresses.length === 0
      ? 'names hosts alone: connections are known by their address, and it has none'
      : `what is dialled at ${addresses.join(', ')} is known and reached as it is`;
  const byName = entryNames(entry);
  if (byName.length > 0) return `leads to where DNS says that ${byName.join(', ')} is`;
  return workloadSelector === undefined
    ? `leads to ${endpoints.length} endpoints`
    : 'leads to the pods that it selects';
}

/**
 * The services of an entry that can be in force, one for each host. Without `subjectAltNames`: of endpoints in plaintext they prove
 * nothing, and a pod that is an endpoint would be taken for whom they name, also by those who dial its address.
 */
export function entryServices(entry: ServiceEntry): EntryService[] {
  const { hosts, addresses = [], ports, resolution = 'NONE', exportTo = [] } = entry.spec;
  const namespace = namespaceOf(entry);
  const blocks = addresses.map((text) => ({ ...blockOf(text), text }));
  const isSingle = ({ address, length }: (typeof blocks)[number]): boolean => length === address.length * 8;
  return hosts.map((host) => {
    const key = serviceKey({ namespace, hostname: host });
    return {
      entry,
      key,
      ips: blocks.filter(isSingle).map(({ text }) => canonicalAddress(text.split('/')[0] ?? '')),
      service: create(ServiceSchema, {
        name: entry.metadata.name,
        namespace,
        hostname: host,
        addresses: blocks.map((block) => ({
          network: '',
          address: block.address,
          ...(isSingle(block) ? {} : { length: block.length }),
        })),
        ports: ports.map((port) => ({
          servicePort: port.number,
          targetPort: port.targetPort ?? port.number,
          appProtocol: PROTOCOLS[(port.protocol ?? '').toUpperCase()] ?? AppProtocol.UNKNOWN,
        })),
        ipFamilies: addresses.length === 0 ? IPFamilies.AUTOMATIC : familiesOnWire(addresses.map(familyOf)),
        visibility:
          exportTo.length > 0 && !exportTo.includes('*')
            ? Service_Visibility.NAMESPACE
            : Service_Visibility.PUBLIC,
        ...(resolution === 'NONE' && {
          loadBalancing: { mode: LoadBalancing_Mode.PASSTHROUGH, routingPreference: [] },
        }),
      }),
    };
  });
}

/** Which pods serve what of ServiceEntries: those selected in the entry's namespace, and those whose address an endpoint has. */
export class EntryIndex {
  readonly #byNamespace = new Map<string, EntryService[]>();
  readonly #byAddress = new Map<
    string,
    { readonly key: string; readonly ports: EntryMembership['ports'] }[]
  >();
  /** Those that names lead to. */
  readonly #byName = new Set<string>();

  constructor(services: readonly EntryService[], names: ResolvedNames = NO_NAMES) {
    for (const each of services) {
      for (const { address, isNamed } of destinationsOf(each, names)) if (isNamed) this.#byName.add(address);
      const { entry, key } = each;
      const { workloadSelector, endpoints = [] } = entry.spec;
      if (Object.keys(workloadSelector?.labels ?? {}).length > 0)
        listOf(this.#byNamespace, namespaceOf(entry)).push(each);
      for (const endpoint of endpoints) {
        if (endpoint.address === undefined || isIP(endpoint.address) === 0) continue;
        const known = listOf(this.#byAddress, canonicalAddress(endpoint.address));
        known.push({ key, ports: portsOf(entry, endpoint) });
      }
    }
  }

  /** Whether an endpoint has that address, or would have it by its name if no pod had. */
  names(address: string): boolean {
    return this.#byAddress.has(address) || this.#byName.has(address);
  }

  /** @param addresses the pod's, canonical */
  membershipsOf(pod: Pod, addresses: readonly string[]): EntryMembership[] {
    const found = new Map<string, EntryMembership>();
    for (const { entry, key } of this.#byNamespace.get(namespaceOf(pod)) ?? [])
      if (labelsMatch(entry.spec.workloadSelector?.labels, pod.metadata.labels))
        found.set(key, { key, ports: portsOf(entry) });
    // The node's address is not the pod's.
    if (pod.spec.hostNetwork !== true)
      for (const each of addresses.flatMap((address) => this.#byAddress.get(address) ?? []))
        if (!found.has(each.key)) found.set(each.key, each);
    return [...found.values()];
  }
}

function listOf<T>(lists: Map<string, T[]>, key: string): T[] {
  const list = lists.get(key) ?? [];
  lists.set(key, list);
  return list;
}

function portsOf({ spec }: ServiceEntry, endpoint: EntryEndpoint = {}): EntryMembership['ports'] {
  return spec.ports.map(({ number, name, targetPort = number }) => ({
    servicePort: number,
    targetPort: endpoint.ports?.[name] ?? targetPort,
  }));
}

/** An address that a host of an entry leads to. */
interface Destination {
  readonly address: string;
  readonly endpoint: EntryEndpoint;
  readonly isNamed: boolean;
}

function destinationsOf({ entry, service }: EntryService, names: ResolvedNames): Destination[] {
  const { endpoints = [], workloadSelector } = entry.spec;
  const byName = isByName(entry);
  const given =
    byName && endpoints.length === 0 && workloadSelector === undefined
      ? [{ address: service.hostname }]
      : endpoints;
  return given.flatMap((endpoint): Destination[] => {
    const { address = '' } = endpoint;
    if (!byName || isIP(address) !== 0)
      return [{ address: canonicalAddress(address), endpoint, isNamed: false }];
    const resolved = names.get(address);
    // Without an address of its own an entry is known by those that its clients dial, who may have asked a while ago.
    const addresses = service.addresses.length === 0 ? resolved?.lately : resolved?.now;
    return (addresses ?? []).map((each) => ({ address: canonicalAddress(each), endpoint, isNamed: true }));
  });
}

/** The endpoints of an entry that are no pods: reached in plaintext, by its hosts. */
export function compileEntryEndpoints(
  services: readonly EntryService[],
  context: EndpointContext,
  names: ResolvedNames = NO_NAMES,
): CompiledEndpoint[] {
  const [first] = services;
  if (first === undefined) return [];
  const { entry } = first;
  const namespace = namespaceOf(entry);
  const { name } = entry.metadata;
  const reached = new Map<string, { readonly endpoint: EntryEndpoint; readonly keys: string[] }>();
  for (const each of services)
    for (const { address, endpoint, isNamed } of destinationsOf(each, names)) {
      if (address === '' || context.isPod(address) || (isNamed && context.isOfCluster(address))) continue;
      const known = reached.get(address) ?? { endpoint, keys: [] };
      reached.set(address, known);
      if (!known.keys.includes(each.key)) known.keys.push(each.key);
    }
  const found = new Map<string, CompiledEndpoint>();
  for (const [address, { endpoint, keys }] of reached) {
    const isFound = first.service.addresses.length === 0 && context.claim(address);
    const [region = '', zone = '', subzone = ''] = (endpoint.locality ?? '').split('/');
    const ports = [...portsOf(entry, endpoint)];
    found.set(address, {
      ips: isFound ? [address] : [],
      workload: create(WorkloadSchema, {
        uid: `${context.clusterId}/networking.istio.io/ServiceEntry/${namespace}/${name}/${address}`,
        name,
        namespace,
        addresses: [addressBytes(address)],
        network: endpoint.network ?? '',
        tunnelProtocol: TunnelProtocol.NONE,
        serviceAccount: endpoint.serviceAccount ?? '',
        canonicalName: name,
        canonicalRevision: 'latest',
        workloadType: WorkloadType.POD,
        workloadName: name,
        services: Object.fromEntries(
          keys.map((key): [string, Workload['services'][string]] => [key, portList(ports)]),
        ),
        status: WorkloadStatus.HEALTHY,
        clusterId: context.clusterId,
        networkMode: isFound ? NetworkMode.STANDARD : NetworkMode.HOST_NETWORK,
        ...(endpoint.locality !== undefined && { locality: { region, zone, subzone } }),
        ...(endpoint.weight !== undefined && { capacity: endpoint.weight }),
      }),
    });
  }
  return [...found.values()];
}

/** As a message of the wire has them. */
export function portList(ports: EntryMembership['ports']): Workload['services'][string] {
  return {
    $typeName: 'istio.workload.PortList',
    ports: ports.map((port) => ({ $typeName: 'istio.workload.Port', appProtocol: 0, ...port })),
  };
}
