import type { Logger } from 'pino';
import type { KubeClient } from '../../../lib/kubernetes/client.ts';
import { Reflector, type ReflectorOptions } from '../../../lib/kubernetes/reflector.ts';
import { isRecord, type KubeResource } from '../../../lib/kubernetes/resource.ts';
import type { ControllerMetrics } from '../../telemetry/metrics.ts';
import { RetryQueue } from './retry-queue.ts';

/**
 * On a node from its birth, by whoever makes nodes: until its first agent is ready nobody there holds new pods or guards them, and
 * pods that do not tolerate it wait (as Cilium has it by node.cilium.io/agent-not-ready).
 */
export const AGENT_NOT_READY_TAINT = 'loam.dev/agent-not-ready';
const AGENT = 'loam-agent';

interface Taint {
  readonly key?: unknown;
}

interface NodeResource extends KubeResource {
  readonly spec?: { readonly taints?: readonly Taint[] };
}

/** What is kept of a node. */
interface PickedNode extends KubeResource {
  readonly tainted: boolean;
}

/** What is kept of a pod. */
interface PickedAgent extends KubeResource {
  /** The node on which it is ready; undefined: it is not. */
  readonly readyOn: string | undefined;
}

export interface NodeTaintsOptions {
  readonly client: KubeClient;
  /** Of the agents. */
  readonly namespace: string;
  readonly metrics: Pick<ControllerMetrics, 'writes'>;
  readonly log: Logger;
  /** For tests. */
  readonly times?: ReflectorOptions<KubeResource>['times'];
}

/**
 * Takes the taint `loam.dev/agent-not-ready` off nodes whose agent is ready. Nobody puts it back: an agent that is away later leaves its
 * pods guarded, and the network plugin holds new ones (decision 0142).
 */
export class NodeTaints {
  readonly #options: NodeTaintsOptions;
  readonly #tainted = new Set<string>();
  /** Nodes with a ready agent, by the agent's pod. */
  readonly #ready = new Map<string, string>();

  constructor(options: NodeTaintsOptions) {
    this.#options = options;
  }

  /** Works until the signal aborts; then whoever leads next does. */
  run(signal: AbortSignal): void {
    const { client, namespace, log, times = {} } = this.#options;
    const queue = new RetryQueue({ work: (node) => this.#work(node), signal, log });
    const nodes = new Reflector<PickedNode>({
      ...{ client, log, times, path: '/api/v1/nodes', pick: pickNode },
      onChange: (node, now) => {
        if (now?.tainted !== true) return void this.#tainted.delete(node);
        this.#tainted.add(node);
        if (this.#hasAgent(node)) queue.add(node);
      },
    });
    const agents = new Reflector<PickedAgent>({
      ...{ client, log, times, path: `/api/v1/namespaces/${namespace}/pods`, pick: pickAgent },
      query: { labelSelector: `app.kubernetes.io/name=${AGENT}` },
      onChange: (pod, now) => {
        if (now?.readyOn === undefined) return void this.#ready.delete(pod);
        this.#ready.set(pod, now.readyOn);
        if (this.#tainted.has(now.readyOn)) queue.add(now.readyOn);
      },
    });
    nodes.start();
    agents.start();
    signal.addEventListener('abort', () => void Promise.all([nodes.close(), agents.close()]));
  }

  #hasAgent(node: string): boolean {
    return [...this.#ready.values()].includes(node);
  }

  async #work(name: string): Promise<void> {
    // It may have become unready while this waited.
    if (!this.#tainted.has(name) || !this.#hasAgent(name)) return;
    const { client, metrics, log } = this.#options;
    const path = `/api/v1/nodes/${name}`;
    const { spec } = await client.get<NodeResource>(path);
    const taints = spec?.taints ?? [];
    const rest = taints.filter(({ key }) => key !== AGENT_NOT_READY_TAINT);
    if (rest.length === taints.length) return;
    try {
      await client.patch(
        path,
        [
          // Others write taints too: where one has since, it is read anew.
          { op: 'test', path: '/spec/taints', value: taints },
          { op: 'replace', path: '/spec/taints', value: rest },
        ],
        'application/json-patch+json',
      );
    } catch (error) {
      metrics.writes.inc({ what: 'taint', result: 'error' });
      throw error;
    }
    metrics.writes.inc({ what: 'taint', result: 'ok' });
    log.info({ node: name, taint: AGENT_NOT_READY_TAINT }, "took off a node's taint: its agent is ready");
  }
}

function pickNode({ metadata, ...rest }: KubeResource): PickedNode {
  const { name, uid, resourceVersion } = metadata;
  const taints = (rest as NodeResource['spec'] & { spec?: NodeResource['spec'] }).spec?.taints ?? [];
  return {
    metadata: {
      name,
      ...(uid !== undefined && { uid }),
      ...(resourceVersion !== undefined && { resourceVersion }),
    },
    tainted: taints.some(({ key }) => key === AGENT_NOT_READY_TAINT),
  };
}

/** Only a pod of the agents' account counts: labels are anybody's, who may make pods in the namespace. */
function pickAgent({ metadata, ...rest }: KubeResource): PickedAgent {
  const { name, namespace, uid, resourceVersion, deletionTimestamp } = metadata;
  const { spec, status } = rest as {
    spec?: { nodeName?: unknown; serviceAccountName?: unknown };
    status?: { conditions?: unknown };
  };
  const conditions: readonly unknown[] = Array.isArray(status?.conditions) ? status.conditions : [];
  const isReady =
    deletionTimestamp === undefined &&
    spec?.serviceAccountName === AGENT &&
    conditions.some((each) => isRecord(each) && each['type'] === 'Ready' && each['status'] === 'True');
  return {
    metadata: {
      name,
      ...(namespace !== undefined && { namespace }),
      ...(uid !== undefined && { uid }),
      ...(resourceVersion !== undefined && { resourceVersion }),
    },
    readyOn: isReady && typeof spec.nodeName === 'string' ? spec.nodeName : undefined,
  };
}
