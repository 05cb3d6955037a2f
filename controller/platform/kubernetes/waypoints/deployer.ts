import type { Logger } from 'pino';
import type { KubeClient } from '../../../../lib/kubernetes/client.ts';
import { hasStatus } from '../../../../lib/kubernetes/errors.ts';
import { errorText } from '../../../../lib/loam-error.ts';
import { Reflector } from '../../../../lib/kubernetes/reflector.ts';
import type { KubeResource } from '../../../../lib/kubernetes/resource.ts';
import { GATEWAY_NAME_LABEL, WAYPOINT_CLASS } from '../../../model/gateway-api.ts';
import { objectKey } from '../../../model/objects.ts';
import type { KubernetesSource } from '../../../sources/kubernetes/source.ts';
import { objectsOf } from '../../../sources/source.ts';
import type { ControllerMetrics } from '../../../telemetry/metrics.ts';
import { RetryQueue } from '../retry-queue.ts';
import { ROOT_CONFIG_MAP, ROOT_KEY } from '../root-config-map.ts';
import {
  MANAGED_BY,
  nameProblem,
  type WaypointGateway,
  waypointObjects,
  type WaypointSettings,
} from './objects.ts';

export interface DeployerOptions {
  readonly client: KubeClient;
  readonly source: Pick<KubernetesSource, 'current' | 'resource' | 'onChange'>;
  /** Where Loam runs: there every replica tells the roots (root-config-map.ts). */
  readonly namespace: string;
  /** Undefined where no image is configured: then no waypoints are made. */
  readonly settings: WaypointSettings | undefined;
  /** PEM of all roots that are to be trusted. */
  readonly rootsPem: () => string;
  readonly metrics: ControllerMetrics;
  readonly log: Logger;
}

const MANAGER = 'loam-controller';
const APPLY = { fieldManager: MANAGER, force: true } as const;
const WATCHED = [
  '/apis/apps/v1/deployments',
  '/api/v1/services',
  '/api/v1/serviceaccounts',
  '/apis/policy/v1/poddisruptionbudgets',
] as const;
const REFUSED = [400, 403, 422] as const;
/** Whatever no event told of is brought back after so long. */
const RESYNC_MS = 300_000;

type Owned = KubeResource & {
  readonly metadata: { readonly ownerReferences?: readonly { readonly uid?: string }[] };
};

/**
 * Makes for each Gateway of Loam's class what its waypoint needs, and brings it back when somebody changes or deletes it. What
 * bears the name and is somebody else's is left alone. In every namespace with a waypoint the mesh's roots are told.
 */
export class WaypointDeployer {
  readonly #options: DeployerOptions;
  readonly #problems = new Map<string, string>();

  constructor(options: DeployerOptions) {
    this.#options = options;
  }

  /** Of Gateways (`<namespace>/<name>`) for which no waypoint could be made: why. */
  get problems(): ReadonlyMap<string, string> {
    return this.#problems;
  }

  /** Works until the signal aborts; then whoever leads next does. */
  run(signal: AbortSignal, onRoots: (listener: () => void, signal: AbortSignal) => void): void {
    const { client, source, log } = this.#options;
    const queue = new RetryQueue({ work: (key) => this.#work(key), signal, log });
    const all = (): void => {
      for (const key of this.#wanted()) queue.add(key);
    };
    const reflectors = WATCHED.map(
      (path) =>
        new Reflector<KubeResource>({
          ...{ client, path, log, pick: pickOwned },
          query: {
            labelSelector: `app.kubernetes.io/managed-by=${MANAGED_BY['app.kubernetes.io/managed-by']}`,
          },
          onChange: (_, now, before) => {
            const { metadata } = now ?? before ?? { metadata: undefined };
            const name = metadata?.labels?.[GATEWAY_NAME_LABEL];
            // A Deployment's status changes all the time: its generation does not.
            const isSame =
              now?.metadata.generation !== undefined &&
              now.metadata.generation === before?.metadata.generation;
            if (name !== undefined && !isSame) queue.add(`gateway ${metadata?.namespace}/${name}`);
          },
        }),
    );
    reflectors.push(
      new Reflector({
        // Anybody may have made one of the name, as large as he likes: what is in it is asked for when it is written.
        ...{ client, log, path: '/api/v1/configmaps', pick: pickOwned },
        query: { fieldSelector: `metadata.name=${ROOT_CONFIG_MAP}` },
        onChange: (_, now, before) => queue.add(`roots ${(now ?? before)?.metadata.namespace}`),
      }),
    );
    for (const reflector of reflectors) reflector.start();
    source.onChange(all, signal);
    onRoots(all, signal);
    all();
    const resync = setInterval(all, RESYNC_MS);
    signal.addEventListener('abort', () => {
      clearInterval(resync);
      for (const reflector of reflectors) void reflector.close();
    });
  }

  #wanted(): string[] {
    const { namespace } = this.#options;
    const gateways = this.#gateways();
    const namespaces = new Set(gateways.map((gateway) => gateway.namespace));
    namespaces.delete(namespace);
    return [
      // The roots first: a waypoint's pod waits for them.
      ...[...namespaces].map((each) => `roots ${each}`),
      ...gateways.map((gateway) => `gateway ${gateway.namespace}/${gateway.name}`),
    ];
  }

  #gateways(): WaypointGateway[] {
    const { source } = this.#options;
    return [...objectsOf(source.current, 'Gateway').values()].flatMap(({ object }) => {
      if (object.kind !== 'Gateway' || object.spec.gatewayClassName !== WAYPOINT_CLASS) return [];
      const { namespace = 'default', name, annotations = {} } = object.metadata;
      const { uid, deletionTimestamp } =
        source.resource({ kind: 'Gateway', namespace, name })?.metadata ?? {};
      return uid === undefined || deletionTimestamp !== undefined
        ? []
        : [{ namespace, name, uid, annotations }];
    });
  }

  async #work(key: string): Promise<void> {
    const [what = '', of = ''] = key.split(' ');
    const { metrics } = this.#options;
    try {
      if (what === 'roots') await this.#tellRoots(of);
      else await this.#deploy(of);
    } catch (error) {
      metrics.writes.inc({ what: what === 'roots' ? 'roots' : 'waypoint', result: 'error' });
      // What the API server will not take the next time either: a quota, an admission policy.
      if (what !== 'roots' && REFUSED.some((status) => hasStatus(error, status)))
        this.#problems.set(of, errorText(error));
      throw error;
    }
  }

  async #deploy(key: string): Promise<void> {
    const { client, settings, log, metrics, source } = this.#options;
    const [namespace = '', name = ''] = key.split('/');
    const isThere = source.current.objects.has(objectKey({ kind: 'Gateway', namespace, name }));
    const gateway = isThere
      ? this.#gateways().find((each) => each.namespace === namespace && each.name === name)
      : undefined;
    // One that is gone takes with it what it owns, by the garbage collector.
    if (gateway === undefined) return void this.#problems.delete(key);
    const problem =
      settings === undefined ? 'no image is configured (--waypoint-image)' : nameProblem(gateway);
    if (settings === undefined || problem !== undefined) {
      log.warn({ gateway: key, problem }, 'no waypoint is made for a Gateway');
      if (problem !== undefined) this.#problems.set(key, problem);
      return;
    }
    const objects = waypointObjects(gateway, settings);
    // Nothing is made before it is known that all of it may be.
    for (const { path, object } of objects) await this.#checkOwner(path, object.kind, gateway);
    for (const { path, object } of objects) {
      await client.patch(path, object, 'application/apply-patch+yaml', APPLY);
      metrics.writes.inc({ what: 'waypoint', result: 'ok' });
    }
    this.#problems.delete(key);
  }

  /** @throws Error where an object of the name is there and is not the Gateway's */
  async #checkOwner(path: string, kind: string, { namespace, name, uid }: WaypointGateway): Promise<void> {
    const found = await this.#find<Owned>(path);
    if (found === undefined || found.metadata.ownerReferences?.some((owner) => owner.uid === uid) === true)
      return;
    const problem = `${kind} ${namespace}/${name} is there and is not the Gateway's; rename the Gateway, or delete the ${kind}`;
    this.#problems.set(`${namespace}/${name}`, problem);
    throw new Error(problem);
  }

  async #tellRoots(namespace: string): Promise<void> {
    if (namespace === this.#options.namespace) return;
    const { client, rootsPem, metrics } = this.#options;
    const path = `/api/v1/namespaces/${namespace}/configmaps/${ROOT_CONFIG_MAP}`;
    const found = await this.#find<KubeResource & { readonly data?: Record<string, string> }>(path);
    if (!this.#wanted().includes(`roots ${namespace}`)) {
      const isOurs =
        found?.metadata.labels?.['app.kubernetes.io/managed-by'] ===
        MANAGED_BY['app.kubernetes.io/managed-by'];
      if (isOurs) await client.delete(path);
      return;
    }
    if (found?.data?.[ROOT_KEY] === rootsPem()) return;
    const object = {
      apiVersion: 'v1',
      kind: 'ConfigMap',
      metadata: { name: ROOT_CONFIG_MAP, namespace, labels: MANAGED_BY },
      data: { [ROOT_KEY]: rootsPem() },
    };
    await client.patch(path, object, 'application/apply-patch+yaml', APPLY);
    metrics.writes.inc({ what: 'roots', result: 'ok' });
  }

  async #find<T>(path: string): Promise<T | undefined> {
    try {
      return await this.#options.client.get<T>(path);
    } catch (error) {
      if (hasStatus(error, 404)) return undefined;
      throw error;
    }
  }
}

function pickOwned({ metadata }: KubeResource): KubeResource {
  const { name, namespace, uid, resourceVersion, generation, labels } = metadata;
  return JSON.parse(
    JSON.stringify({ metadata: { name, namespace, uid, resourceVersion, generation, labels } }),
  ) as KubeResource;
}
