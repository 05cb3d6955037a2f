import { OffSwitches } from '../../lib/linux/bpf/index.ts';
import { errorText } from '../../lib/loam-error.ts';
import { ask, askJson, type Endpoint } from '../local/http.ts';
import { agentInstance, checkMeshName, DEFAULT_MESH, netnsPath } from '../local/names.ts';
import { cookieOf } from '../local/off.ts';
import { meshPaths } from '../local/paths.ts';
import { WAYPOINT_ADMIN_PORT, ZTUNNEL_ADMIN_PORT } from '../local/programs.ts';
import type { SupervisorReport } from '../local/report.ts';
import { supervisorReport } from '../local/status.ts';
import { runningMesh } from '../local/up.ts';
import { localCatalogs } from '../observe/local-catalog.ts';
import { localProducers } from '../observe/local-producers.ts';
import type { Catalog } from '../../lib/flow/catalog.ts';
import type { FlowProducer } from '../observe/feed.ts';
import { hasEarlier, type Earlier } from './earlier.ts';
import { MeshError } from './errors.ts';
import {
  programName,
  type KernelPod,
  type MeshInventory,
  type MeshPod,
  type MeshReader,
  type MeshService,
  type ProgramRef,
} from './reader.ts';

interface Meta {
  readonly name: string;
  readonly namespace?: string;
  readonly labels?: Readonly<Record<string, string>>;
}

interface Objects {
  readonly pods: readonly { readonly metadata: Meta }[];
  readonly services: readonly {
    readonly metadata: Meta;
    readonly spec: {
      readonly selector?: Readonly<Record<string, string>>;
      readonly ports?: readonly { readonly port: number; readonly name?: string }[];
    };
  }[];
}

interface AgentPod {
  readonly uid: string;
  readonly problem?: string;
  readonly listeners?: Readonly<Record<string, number>>;
  readonly earlier?: Earlier;
  readonly guard?: { readonly dropped?: Readonly<Record<string, number>> };
}

/** Commands wait longer than what asks again and again: a whole config dump takes its time on a busy machine. */
const TIMEOUT_MS = 15_000;
/** So long the list of what runs is taken for the present one. */
const REPORT_MS = 1_000;

/** A local mesh, asked by its own sockets and read in its own network namespaces. */
export class LocalReader implements MeshReader {
  readonly name: string;
  readonly plainServices = 'pods';
  readonly mesh: string;
  readonly #catalogs: () => Promise<Catalog>;
  #known: { readonly at: number; readonly report: Promise<SupervisorReport> } | undefined;

  private constructor(mesh: string) {
    this.mesh = mesh;
    this.#catalogs = localCatalogs(mesh);
    this.name = `mesh ${mesh}`;
  }

  /** @throws MeshError MESH_STATE when it does not run; LocalMeshError for a name that is not usable */
  static async open(mesh: string): Promise<LocalReader> {
    if ((await runningMesh(checkMeshName(mesh))) === undefined)
      throw new MeshError(
        'MESH_STATE',
        `there is no mesh ${mesh}; start one: loam local up DIR${mesh === DEFAULT_MESH ? ', or loam demo and here --name demo' : ` --name ${mesh}`}`,
      );
    return new LocalReader(mesh);
  }

  async inventory(): Promise<MeshInventory> {
    const [report, objects] = await Promise.all([this.#report(), this.#objects()]);
    const labels = new Map(objects.pods.map(({ metadata }) => [keyOf(metadata), metadata.labels ?? {}]));
    return {
      nodes: report.nodes.map(({ name }) => name).sort(),
      pods: report.pods.map((pod) => ({
        ...{ namespace: pod.namespace, name: pod.name, node: pod.node, uid: pod.uid },
        ...{ account: pod.serviceAccount, ips: pod.ips, ready: pod.ready },
        labels: labels.get(`${pod.namespace}/${pod.name}`) ?? {},
      })),
      services: objects.services.map(({ metadata, spec }): MeshService => ({
        namespace: metadata.namespace ?? 'default',
        name: metadata.name,
        ports: spec.ports ?? [],
        selector: spec.selector ?? {},
      })),
      waypoints: report.waypoints.flatMap(({ namespace, name, instances }) =>
        instances.map((instance) => ({
          ...{ namespace, gateway: name, instance: instance.name, node: instance.node },
          ips: instance.ips,
        })),
      ),
    };
  }

  async get(program: ProgramRef, path: string): Promise<unknown> {
    return askJson(await this.#endpoint(program), path, TIMEOUT_MS);
  }

  async text(program: ProgramRef, path: string, method: 'GET' | 'POST' = 'GET'): Promise<string> {
    const { status, body } = await ask(await this.#endpoint(program), path, method, TIMEOUT_MS);
    if (status === 200) return body;
    throw new MeshError('MESH_ANSWER', `${programName(program)} answers ${status}: ${body.trim()}`);
  }

  /** Who may ask a local mesh at all sees all of it. */
  missing(): readonly string[] {
    return [];
  }

  async kernel(pod: MeshPod): Promise<KernelPod> {
    const own = (await this.#report()).pods.find(({ uid }) => uid === pod.uid);
    const agent = await this.#agentPod(pod);
    const told = typeof agent === 'string' ? { unread: agent } : agentView(agent);
    const cookie = own && cookieOf(netnsPath(own.netns));
    if (cookie === undefined) return { enrolled: false, ...told, unread: 'its network namespace is gone' };
    try {
      using maps = OffSwitches.open(agentInstance(this.mesh, pod.node));
      if (maps === undefined) return { enrolled: false, ...told, unread: 'the node has nothing pinned' };
      const entry = maps.entry(cookie);
      const off = maps.read();
      const since = off.pods.get(cookie) ?? off.node;
      return {
        enrolled: maps.isEnrolled(cookie),
        cookie: String(cookie),
        ...(entry && { generation: String(entry.generation), ips: entry.ips }),
        ...(since && { off: since.toISOString() }),
        ...told,
      };
    } catch (error) {
      return { enrolled: false, ...told, unread: errorText(error) };
    }
  }

  producers(): Promise<readonly FlowProducer[]> {
    return localProducers(this.mesh);
  }

  catalog(): Promise<Catalog> {
    return this.#catalogs();
  }

  #report(): Promise<SupervisorReport> {
    const now = Date.now();
    if (this.#known === undefined || now - this.#known.at > REPORT_MS)
      this.#known = { at: now, report: supervisorReport(this.mesh, TIMEOUT_MS) };
    return this.#known.report;
  }

  async #objects(): Promise<Objects> {
    const socketPath = meshPaths(this.mesh).controllerStatus;
    return (await askJson({ socketPath }, '/v1/objects?all=1', TIMEOUT_MS)) as Objects;
  }

  /** @returns why it is not to be had, as a text */
  async #agentPod({ node, uid }: MeshPod): Promise<AgentPod | string | undefined> {
    try {
      const { pods } = (await this.get({ program: 'agent', node }, '/status')) as { pods: AgentPod[] };
      return pods.find((pod) => pod.uid === uid);
    } catch (error) {
      return errorText(error);
    }
  }

  async #endpoint(program: ProgramRef): Promise<Endpoint> {
    const paths = meshPaths(this.mesh);
    switch (program.program) {
      case 'controller':
        return { socketPath: paths.controllerStatus };
      case 'agent':
        return { socketPath: paths.agentStatusOf(program.node) };
      case 'ztunnel': {
        const node = (await this.#report()).nodes.find(({ name }) => name === program.node);
        if (node !== undefined) return { netns: node.netns, port: ZTUNNEL_ADMIN_PORT };
        break;
      }
      case 'waypoint': {
        const instance = (await this.#report()).waypoints
          .filter(({ namespace }) => namespace === program.namespace)
          .flatMap(({ instances }) => instances)
          .find(({ name }) => name === program.instance);
        if (instance !== undefined) return { netns: instance.netns, port: WAYPOINT_ADMIN_PORT };
      }
    }
    throw new MeshError('MESH_STATE', `${this.name} has no ${programName(program)}`);
  }
}

function agentView(pod: AgentPod | undefined): Partial<KernelPod> {
  if (pod === undefined) return {};
  const dropped = pod.guard?.dropped ?? {};
  return {
    ...(pod.listeners && { listeners: pod.listeners }),
    ...(Object.keys(dropped).length > 0 && { dropped }),
    ...(hasEarlier(pod) && { earlier: pod.earlier }),
    ...(pod.problem !== undefined && { problem: pod.problem }),
  };
}

function keyOf({ namespace, name }: Meta): string {
  return `${namespace ?? 'default'}/${name}`;
}
