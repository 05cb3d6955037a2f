import type { V1Pod, V1Service } from '@kubernetes/client-node';
import type { EventsWanted } from '../../../lib/flow/event.ts';
import type { Catalog } from '../../../lib/flow/catalog.ts';
import { ClusterApi, type ClusterChoice } from '../../install/cluster/api.ts';
import type { FlowProducer } from '../../observe/feed.ts';
import { hasEarlier, type Earlier } from '../earlier.ts';
import { MeshError } from '../errors.ts';
import {
  programName,
  type KernelPod,
  type MeshInventory,
  type MeshPod,
  type MeshReader,
  type MeshService,
  type ProgramRef,
} from '../reader.ts';
import { clusterCatalog } from './catalog.ts';
import { ClusterObjects } from './objects.ts';
import { ClusterPrograms, type GatewayOfClass, isReady } from './programs.ts';

export interface ClusterPlace extends ClusterChoice {
  /** Where Loam runs. */
  readonly system: string;
  /** Where to look when the user may not list objects of all namespaces; none: in the kubeconfig's. */
  readonly namespaces: readonly string[];
}

interface AgentPod {
  readonly uid: string;
  readonly state: 'waiting' | 'claimed' | 'verified' | 'leaving';
  readonly ips?: readonly string[];
  readonly off?: string;
  readonly problem?: string;
  readonly netns?: { readonly cookie?: string };
  readonly listeners?: Readonly<Record<string, number>>;
  readonly earlier?: Earlier;
  readonly guard?: { readonly dropped?: Readonly<Record<string, number>> };
}

interface AgentStatus {
  readonly off?: string;
  readonly pods: readonly AgentPod[];
}

/**
 * A cluster's mesh, with the rights of whoever asks: objects from the API server, and what programs know by port-forward to
 * loopback of their pods (docs/decisions/0169).
 */
export class ClusterReader implements MeshReader {
  readonly name: string;
  readonly plainServices = 'translated';
  readonly objects: ClusterObjects;
  readonly programs: ClusterPrograms;
  readonly api: ClusterApi;
  readonly system: string;
  readonly #agents = new Map<string, Promise<AgentStatus>>();

  private constructor(api: ClusterApi, { system, namespaces }: ClusterPlace) {
    this.api = api;
    this.system = system;
    this.name = `cluster ${api.context}`;
    this.objects = new ClusterObjects(api, [
      ...(namespaces.length === 0 ? [api.namespace] : namespaces),
      system,
    ]);
    // Apart: what cannot be seen of them is missing to nobody who did not ask for it.
    const gateways = new ClusterObjects(api, []);
    this.programs = new ClusterPrograms(
      api,
      { system, cluster: this.name, missing: () => this.objects.missingFor('v1/Pod') },
      () => this.objects.list<V1Pod>('v1/Pod'),
      () => allGateways(gateways),
    );
  }

  /**
   * @throws InstallError INSTALL_ACCESS when no kubeconfig is usable, ApiError when the API server does not answer; MeshError
   *   MESH_STATE when there is no Loam in that namespace
   */
  static async open(place: ClusterPlace): Promise<ClusterReader> {
    const reader = new ClusterReader(await ClusterApi.open(place), place);
    const { system, name, objects } = reader;
    const pods = await objects.list<V1Pod>('v1/Pod');
    const seesSystem =
      objects.missing.length === 0 || pods.some(({ metadata }) => metadata?.namespace === system);
    if (seesSystem && (await reader.programs.nodes()).length === 0)
      throw new MeshError(
        'MESH_STATE',
        (await reader.programs.podsOf('controller')).length > 0
          ? `the installation in namespace ${system} of ${name} is unfinished: loam check says what keeps it; loam install --set image=… does it again, from where it was`
          : `there is no Loam in namespace ${system} of ${name}; install it: loam install, or say where it is: --system-namespace`,
      );
    return reader;
  }

  async inventory(): Promise<MeshInventory> {
    const [pods, services, nodes, waypoints] = await Promise.all([
      this.objects.list<V1Pod>('v1/Pod'),
      this.objects.list<V1Service>('v1/Service'),
      this.programs.nodes(),
      this.programs.waypoints(),
    ]);
    const present = pods.filter(isPresent);
    return {
      nodes,
      pods: present.map(podOf),
      services: services.map((service) => serviceOf(service, present)),
      waypoints,
    };
  }

  get(program: ProgramRef, path: string): Promise<unknown> {
    return this.programs.get(program, path);
  }

  async text(program: ProgramRef, path: string, method: 'GET' | 'POST' = 'GET'): Promise<string> {
    const { status, body } = await this.programs.text(program, path, method);
    if (status === 200) return body;
    throw new MeshError('MESH_ANSWER', `${programName(program)} answers ${status}: ${body.trim()}`);
  }

  missing(): readonly string[] {
    return this.objects.missing;
  }

  async kernel({ node, uid }: MeshPod): Promise<KernelPod> {
    let asked = this.#agents.get(node);
    if (asked === undefined)
      this.#agents.set(
        node,
        (asked = this.get({ program: 'agent', node }, '/status') as Promise<AgentStatus>),
      );
    const { pods, off } = await asked;
    const pod = pods.find((each) => each.uid === uid);
    if (pod === undefined) return { enrolled: false, ...(off !== undefined && { off }) };
    const dropped = pod.guard?.dropped ?? {};
    const since = pod.off ?? off;
    return {
      enrolled: pod.state === 'verified' || pod.state === 'claimed',
      ...(pod.netns?.cookie !== undefined && { cookie: pod.netns.cookie }),
      ...(pod.ips && { ips: pod.ips }),
      ...(since !== undefined && { off: since }),
      ...(pod.listeners && { listeners: pod.listeners }),
      ...(Object.keys(dropped).length > 0 && { dropped }),
      ...(hasEarlier(pod) && { earlier: pod.earlier }),
      ...(pod.problem !== undefined && { problem: pod.problem }),
    };
  }

  async producers(): Promise<readonly FlowProducer[]> {
    const [nodes, waypoints] = await Promise.all([this.programs.nodes(), this.programs.waypoints()]);
    const producer = (program: ProgramRef, name: string): FlowProducer => ({
      name,
      follow: (events: EventsWanted, signal, onValue) =>
        this.programs.follow(program, `/flows?events=${events}`, signal, onValue),
    });
    return [
      ...nodes.map((node) => producer({ program: 'ztunnel', node }, `ztunnel ${node}`)),
      ...waypoints.map(({ namespace, instance }) =>
        producer({ program: 'waypoint', namespace, instance }, `waypoint ${namespace}/${instance}`),
      ),
    ];
  }

  catalog(): Promise<Catalog> {
    return clusterCatalog(this);
  }
}

const GATEWAY = 'gateway.networking.k8s.io/v1/Gateway';

async function allGateways(objects: ClusterObjects): Promise<readonly GatewayOfClass[] | undefined> {
  try {
    const all = await objects.list<GatewayOfClass>(GATEWAY);
    return objects.missingFor(GATEWAY) === undefined ? all : undefined;
  } catch {
    return undefined; // Whoever lists what was asked for says why.
  }
}

/** Has a place and an address of its own: one on the node's network is the node, to everybody else. */
export function isPresent({ spec, status }: V1Pod): boolean {
  return (
    spec?.nodeName !== undefined &&
    spec.hostNetwork !== true &&
    status?.phase !== 'Succeeded' &&
    status?.phase !== 'Failed'
  );
}

function podOf(pod: V1Pod): MeshPod {
  const { metadata, spec, status } = pod;
  return {
    namespace: metadata?.namespace ?? '',
    name: metadata?.name ?? '',
    node: spec?.nodeName ?? '',
    uid: metadata?.uid ?? '',
    account: spec?.serviceAccountName ?? 'default',
    ips: (status?.podIPs ?? []).map(({ ip }) => ip),
    ready: isReady(pod),
    labels: metadata?.labels ?? {},
  };
}

function serviceOf({ metadata, spec }: V1Service, pods: readonly V1Pod[]): MeshService {
  const namespace = metadata?.namespace ?? '';
  const selector = Object.entries(spec?.selector ?? {});
  const selected = pods.filter(
    (pod) =>
      pod.metadata?.namespace === namespace &&
      selector.length > 0 &&
      selector.every(([key, value]) => pod.metadata?.labels?.[key] === value),
  );
  return {
    namespace,
    name: metadata?.name ?? '',
    ports: (spec?.ports ?? []).map(({ port, name, targetPort }) => {
      const target = portOf(targetPort, selected);
      return {
        port,
        ...(name !== undefined && { name }),
        ...(target !== undefined && target !== port && { targetPort: target }),
      };
    }),
    selector: spec?.selector ?? {},
  };
}

/** A name is the port of a container. */
function portOf(target: number | string | undefined, pods: readonly V1Pod[]): number | undefined {
  if (typeof target !== 'string') return target;
  return pods
    .flatMap(({ spec }) => spec?.containers ?? [])
    .flatMap(({ ports = [] }) => ports)
    .find(({ name }) => name === target)?.containerPort;
}
