/** Where the programs of an installation run, and how their admin is asked: port-forward to loopback of their pods. */
import type { V1Pod } from '@kubernetes/client-node';
import { assertNever } from '../../../lib/assert-never.ts';
import type { ClusterApi } from '../../install/cluster/api.ts';
import { selectorOf } from '../../install/render/manifest.ts';
import { ADMIN_PORT } from '../../install/render/programs.ts';
import { ask, askJson, followJsonLines, type Endpoint, type HttpAnswer } from '../../local/http.ts';
import { GATEWAY_NAME_LABEL, WAYPOINT_CLASS, type GatewayObject } from '../../waypoints/model.ts';
import { MeshError } from '../errors.ts';
import { programName, type MeshWaypoint, type ProgramRef } from '../reader.ts';
import { PodStream } from './pod-stream.ts';

/** By way of the API server, the kubelet and the runtime, on machines that may be busy. */
const TIMEOUT_MS = 30_000;
/** What ztunnel answers for an agent that does not. */
const AGENT_SILENT = 502;
const NAME_LABEL = 'app.kubernetes.io/name';

/** What is read of a Gateway. */
export interface GatewayOfClass {
  readonly metadata: Pick<GatewayObject['metadata'], 'namespace' | 'name'>;
  readonly spec: Pick<GatewayObject['spec'], 'gatewayClassName'>;
}

/** The pods of the programs, as the API server lists them. */
export class ClusterPrograms {
  readonly #api: Pick<ClusterApi, 'config'>;
  readonly #system: string;
  readonly #cluster: string;
  readonly #missing: () => string | undefined;
  readonly #pods: () => Promise<readonly V1Pod[]>;
  readonly #gateways: () => Promise<readonly GatewayOfClass[] | undefined>;

  /**
   * @param pods all that the user may list; `missing` says what of them is left out
   * @param gateways all that there are; undefined: the user may not list them
   */
  constructor(
    api: Pick<ClusterApi, 'config'>,
    where: {
      readonly system: string;
      readonly cluster: string;
      readonly missing: () => string | undefined;
    },
    pods: () => Promise<readonly V1Pod[]>,
    gateways: () => Promise<readonly GatewayOfClass[] | undefined>,
  ) {
    this.#api = api;
    this.#system = where.system;
    this.#cluster = where.cluster;
    this.#missing = where.missing;
    this.#pods = pods;
    this.#gateways = gateways;
  }

  /** Pods of a program of the installation, those that can be asked first. */
  async podsOf(program: 'controller' | 'agent' | 'ztunnel'): Promise<readonly V1Pod[]> {
    const name = selectorOf(program)[NAME_LABEL];
    const pods = await this.#pods();
    return pods
      .filter(
        ({ metadata }) => metadata?.namespace === this.#system && metadata.labels?.[NAME_LABEL] === name,
      )
      .toSorted((a, b) => rank(b) - rank(a) || startOf(b) - startOf(a));
  }

  /** Nodes that have a ztunnel. */
  async nodes(): Promise<readonly string[]> {
    const nodes = (await this.podsOf('ztunnel')).flatMap(({ spec }) => spec?.nodeName ?? []);
    return [...new Set(nodes)].sort();
  }

  async waypoints(): Promise<readonly MeshWaypoint[]> {
    return (await this.waypointPods())
      .map(({ metadata, spec, status }): MeshWaypoint => ({
        namespace: metadata?.namespace ?? '',
        gateway: metadata?.labels?.[GATEWAY_NAME_LABEL] ?? '',
        instance: metadata?.name ?? '',
        node: spec?.nodeName ?? '',
        ips: (status?.podIPs ?? []).map(({ ip }) => ip),
      }))
      .sort((a, b) => (`${a.namespace}/${a.instance}` < `${b.namespace}/${b.instance}` ? -1 : 1));
  }

  /** Others' gateways have the same label and such an account, too: where Gateways can be seen, their class decides, as for the controller. */
  async waypointPods(): Promise<readonly V1Pod[]> {
    const pods = (await this.#pods()).filter(isWaypoint);
    if (pods.length === 0) return [];
    const gateways = await this.#gateways();
    if (gateways === undefined) return pods;
    const own = gateways.filter(({ spec }) => spec.gatewayClassName === WAYPOINT_CLASS);
    const names = new Set(own.map(({ metadata: { namespace, name } }) => `${namespace}/${name}`));
    return pods.filter(({ metadata }) =>
      names.has(`${metadata?.namespace}/${metadata?.labels?.[GATEWAY_NAME_LABEL]}`),
    );
  }

  /** Of one pod of a program. */
  ask(pod: V1Pod, path: string): Promise<HttpAnswer> {
    return ask(this.#endpoint(pod), path, 'GET', TIMEOUT_MS);
  }

  async get(program: ProgramRef, path: string): Promise<unknown> {
    return this.#firstThatAnswers(program, async (endpoint) => {
      if (program.program !== 'agent') return askJson(endpoint, path, TIMEOUT_MS);
      const { status, body } = await ask(endpoint, pathAt(program, path), 'GET', TIMEOUT_MS);
      if (status !== AGENT_SILENT) return jsonOf(programName(program), status, body);
      throw new MeshError(
        'MESH_ANSWER',
        `no agent of ${program.node} answers (${body.trim().replace(/^the agent does not answer at [^:]+: /, '')}): loam check says whether it is there`,
      );
    });
  }

  async text(program: ProgramRef, path: string, method: 'GET' | 'POST'): Promise<HttpAnswer> {
    // What is changed is changed in each of its replicas.
    if (program.program === 'controller' && method === 'POST') {
      const [first, ...others] = await this.podsOf('controller');
      for (const pod of others) await ask(this.#endpoint(pod), path, method, TIMEOUT_MS);
      if (first !== undefined) return ask(this.#endpoint(first), path, method, TIMEOUT_MS);
    }
    return this.#firstThatAnswers(program, (endpoint) =>
      ask(endpoint, pathAt(program, path), method, TIMEOUT_MS),
    );
  }

  /** Reads a stream of JSON lines until it ends or the signal fires. */
  async follow(
    program: ProgramRef,
    path: string,
    signal: AbortSignal,
    onValue: (value: unknown) => void,
  ): Promise<void> {
    await this.#firstThatAnswers(program, (endpoint) => followJsonLines(endpoint, path, signal, onValue));
  }

  #endpoint({ metadata }: V1Pod): Endpoint {
    const [namespace, pod] = [metadata?.namespace ?? '', metadata?.name ?? ''];
    const { config } = this.#api;
    return {
      where: `pod ${namespace}/${pod}`,
      connect: () => new PodStream(config, { namespace, pod, port: ADMIN_PORT }),
    };
  }

  /** While one ztunnel takes over from another, only the one that serves can be asked. */
  async #firstThatAnswers<T>(program: ProgramRef, ask: (endpoint: Endpoint) => Promise<T>): Promise<T> {
    const pods = await this.#candidates(program);
    let problem: Error | undefined;
    for (const pod of pods) {
      try {
        return await ask(this.#endpoint(pod));
      } catch (error) {
        if (error instanceof MeshError && error.code === 'MESH_RIGHTS') throw error;
        problem ??= error as Error;
      }
    }
    const missing = this.#missing();
    if (problem === undefined && missing !== undefined)
      throw new MeshError('MESH_RIGHTS', `${programName(program)} cannot be found: ${missing}`);
    throw problem ?? new MeshError('MESH_STATE', `${this.#cluster} has no ${programName(program)}`);
  }

  async #candidates(program: ProgramRef): Promise<readonly V1Pod[]> {
    switch (program.program) {
      case 'controller':
        return this.podsOf('controller');
      // The agent is on the node's network and opens no port: the node's ztunnel asks it for us (decision 0169).
      case 'agent':
      case 'ztunnel':
        return (await this.podsOf('ztunnel')).filter(({ spec }) => spec?.nodeName === program.node);
      case 'waypoint':
        return (await this.waypointPods()).filter(
          (pod) => pod.metadata?.namespace === program.namespace && pod.metadata.name === program.instance,
        );
      default:
        return assertNever(program, 'program');
    }
  }
}

function jsonOf(who: string, status: number, body: string): unknown {
  if (status === 200) return JSON.parse(body) as unknown;
  throw new MeshError('MESH_ANSWER', `${who} answers ${status}: ${body.slice(0, 300).trim()}`);
}

function pathAt({ program }: ProgramRef, path: string): string {
  return program === 'agent' ? `/agent${path}` : path;
}

/** As the controller knows them: the label of the Gateway, and the account that only its waypoint has. */
function isWaypoint({ metadata, spec }: V1Pod): boolean {
  const { labels = {} } = metadata ?? {};
  const gateway = labels[GATEWAY_NAME_LABEL];
  return (
    gateway !== undefined && spec?.serviceAccountName === gateway && metadata?.deletionTimestamp === undefined
  );
}

export function isReady({ status }: V1Pod): boolean {
  return (status?.conditions ?? []).some(({ type, status: is }) => type === 'Ready' && is === 'True');
}

function rank(pod: V1Pod): number {
  return (pod.metadata?.deletionTimestamp === undefined ? 2 : 0) + (isReady(pod) ? 1 : 0);
}

/** As JSON it is text, whatever the client's types say. */
function startOf({ metadata }: V1Pod): number {
  return Date.parse(String(metadata?.creationTimestamp ?? '')) || 0;
}
