import { rmSync } from 'node:fs';
import { dirname } from 'node:path';
import { errorText } from '../../lib/loam-error.ts';
import { addressesOf, type Addresses, type AddressPlan } from './addresses.ts';
import type { LogFile } from './log-file.ts';
import { podKey, type GatewayManifest } from './model.ts';
import type { MeshNetwork } from './network.ts';
import type { NodePool } from './node-pool.ts';
import type { MeshPaths } from './paths.ts';
import type { ProcessRecords } from './process-record.ts';
import { DOWN_GRACE_MS, EndingWaypoints } from './ending-waypoints.ts';
import { ownInstallation, type Installation } from './installation.ts';
import { LocalMeshError } from './errors.ts';
import { waypointCommand } from './programs.ts';
import { pidOf, refusal, takenOver, type Rolled } from './takeover.ts';
import type { TokenFile } from './tokens.ts';
import { Waypoint } from './waypoint.ts';
import { waypointPlace } from './waypoint-place.ts';

/** How long a new one may take until it is ready. */
const TAKEOVER_MS = 60_000;
/** Of one Gateway, that were replaced and still serve what was open then: each takes the memory of a whole program. */
const MAX_REPLACED = 6;

export interface WaypointPoolOptions {
  readonly paths: MeshPaths;
  readonly plan: AddressPlan;
  readonly network: MeshNetwork;
  readonly nodes: NodePool;
  readonly tokens: TokenFile;
  readonly env: NodeJS.ProcessEnv;
  readonly records: ProcessRecords;
  readonly log: LogFile;
  readonly onChange: () => void;
  /** Of the instances that are made until an upgrade. */
  readonly installation?: Installation;
}

/** What the assignments file says of one Gateway. */
export interface GatewayAssignment {
  readonly clusterIPs: readonly string[];
  readonly instances: readonly {
    readonly name: string;
    readonly ips: readonly string[];
    readonly node: string;
    readonly ready: boolean;
  }[];
}

/** The key under which the address plan keeps the Service of a Gateway; no Service has a blank in its name. */
export function gatewayVipKey(gateway: string): string {
  return `gateway ${gateway}`;
}

/**
 * Runs the waypoints of the mesh: one for each accepted Gateway of our class, in one or several instances. A waypoint is
 * no pod of the mesh: no agent sees it, nothing of its traffic is redirected.
 */
export class WaypointPool {
  readonly #options: WaypointPoolOptions;
  /** By gateway (`namespace/name`), in the order of their numbers. */
  readonly #instances = new Map<string, readonly Waypoint[]>();
  readonly #problems = new Map<string, readonly string[]>();
  readonly #ending: EndingWaypoints;
  #stopped = false;
  #installation: Installation;

  constructor(options: WaypointPoolOptions) {
    this.#options = options;
    this.#installation = options.installation ?? ownInstallation();
    this.#ending = new EndingWaypoints({
      log: options.log,
      release: async ({ gateway, index, netns, addresses }) => {
        const { network, plan } = options;
        await network.removeWaypoint(netns, addresses).finally(() => {
          plan.releasePod(`${gatewayVipKey(gateway)} ${index}`);
        });
      },
    });
  }

  get all(): readonly Waypoint[] {
    return [...this.#instances.values()].flat();
  }

  /** Those that were replaced and still serve what was open then. */
  get replaced(): readonly Waypoint[] {
    return this.#ending.replaced;
  }

  /** What of each Gateway cannot be followed, or why it does not run. */
  get problems(): ReadonlyMap<string, readonly string[]> {
    return this.#problems;
  }

  /**
   * Makes running what shall run, and stops the rest. One whose Gateway changed goes on, unless its place is another.
   *
   * @param podNodes names of the nodes that run pods
   * @throws when an instance cannot be made; the others are made all the same
   */
  async apply(gateways: readonly GatewayManifest[], podNodes: ReadonlySet<string>): Promise<void> {
    const wanted = new Map(gateways.map((gateway) => [podKey(gateway), gateway]));
    for (const key of this.#instances.keys()) if (!wanted.has(key)) this.#forget(key);
    const results = await Promise.allSettled(
      [...wanted].map(([key, gateway]) => this.#applyOne(key, gateway, podNodes)),
    );
    const failed = results.find((result) => result.status === 'rejected');
    if (failed) throw failed.reason;
  }

  /** For the assignments file; undefined when there is no Gateway. */
  assignments(): Readonly<Record<string, GatewayAssignment>> | undefined {
    if (this.#instances.size === 0) return undefined;
    return Object.fromEntries(
      [...this.#instances].map(([gateway, instances]) => [
        gateway,
        {
          clusterIPs: both(this.#options.plan.vip(gatewayVipKey(gateway))),
          instances: instances.map(({ instance, addresses, node, ready }) => ({
            ...{ name: instance, ips: both(addresses), node, ready },
          })),
        },
      ]),
    );
  }

  /** The primary virtual address of a waypoint's Service. */
  vip(gateway: string): string {
    return this.#options.plan.vip(gatewayVipKey(gateway)).ip4;
  }

  /** Ends all of them. The pods are gone by then. */
  async stop(): Promise<void> {
    this.#stopped = true;
    await Promise.all([...this.all.map((each) => each.stop(DOWN_GRACE_MS)), this.#ending.stop()]);
  }

  async #applyOne(key: string, gateway: GatewayManifest, podNodes: ReadonlySet<string>): Promise<void> {
    const { tokens, paths, onChange } = this.#options;
    const before = this.#instances.get(key);
    const place = waypointPlace(gateway, podNodes, before?.[0]?.node);
    const waits = place.nodes.length === 0 ? ['waits for a pod: the mesh has no node yet to run on'] : [];
    this.#problems.set(key, [...place.problems, ...waits]);
    if (before === undefined)
      tokens.issue({ gateway: key }, paths.gatewayToken(gateway.namespace, gateway.name));
    const stays = (before ?? []).filter(({ node, slot }) => node === place.nodes[slot]);
    const goes = (before ?? []).filter((instance) => !stays.includes(instance));
    this.#instances.set(key, stays);
    if (goes.length > 0) onChange();
    for (const instance of goes) void this.#ending.end(instance, 'removed');
    const missing = place.nodes.flatMap((node, i) =>
      stays.some(({ slot }) => slot === i) ? [] : [{ node, i }],
    );
    await Promise.all(missing.map(({ node, i }) => this.#create(key, gateway, node, i, i)));
  }

  /**
   * Replaces instances, one after the other, each as a rollout of Kubernetes with maxSurge does it: one more is made, with
   * an address of its own; when it is ready and nobody is sent to the former any more, that one serves what is open to its
   * end, or until a deadline.
   *
   * @param node those that run there only
   * @throws LocalMeshError LOCAL_MESH_STATE: a new one did not become ready; it is removed, and the former serves
   */
  async upgrade(
    node: string | undefined,
    installation: Installation,
  ): Promise<readonly (Rolled & { readonly node: string; readonly instance: string })[]> {
    const done: (Rolled & { node: string; instance: string })[] = [];
    for (const former of this.all.filter((each) => node === undefined || each.node === node)) {
      try {
        const next = await this.#replace(former, installation);
        done.push({ ...next, node: former.node });
      } catch (error) {
        const what = `waypoint ${former.gateway}-${former.index}`;
        throw new LocalMeshError('LOCAL_MESH_STATE', `${what}: ${errorText(error)}`);
      }
    }
    if (node === undefined) this.#installation = installation;
    return done;
  }

  async #replace(former: Waypoint, installation: Installation): Promise<Rolled & { instance: string }> {
    const { gateway: key, node, slot } = former;
    const [namespace = '', name = ''] = key.split('/');
    const serving = this.replaced.filter(({ gateway }) => gateway === key).length;
    if (serving >= MAX_REPLACED)
      throw refusal(
        `${serving} former ones still serve what was open; the next may begin when one has ended`,
      );
    const index = this.#freeIndex(key);
    const next = await this.#create(key, { namespace, name }, node, slot, index, installation);
    const isStopped = (): boolean => this.#stopped;
    try {
      const pid = await takenOver({
        state: () => next.state,
        hasTakenOver: () => Promise.resolve(next.ready),
        waitsFor: () => Promise.resolve('it is not ready'),
        ...{ timeoutMs: TAKEOVER_MS, isStopped },
      });
      const formerPid = pidOf(former.state);
      if (this.#leaves(former)) void this.#ending.end(former, 'replaced');
      return { formerPid, pid, instance: `${key}-${index}` };
    } catch (error) {
      if (this.#leaves(next)) void this.#ending.end(next, 'removed');
      throw error;
    }
  }

  /** Nobody is sent to an instance any more. @returns false when that was so before */
  #leaves(instance: Waypoint): boolean {
    const before = this.#instances.get(instance.gateway) ?? [];
    if (!before.includes(instance)) return false;
    this.#instances.set(
      instance.gateway,
      before.filter((each) => each !== instance),
    );
    this.#options.onChange();
    return true;
  }

  /** A number that no instance of a Gateway has, whether it is to be dialled or ends. */
  #freeIndex(key: string): number {
    const { network } = this.#options;
    const [namespace = '', name = ''] = key.split('/');
    const taken = new Set((this.#instances.get(key) ?? []).map(({ index }) => index));
    let index = 0;
    while (taken.has(index) || this.#ending.untilFree(network.waypoint(namespace, name, index)) !== undefined)
      index += 1;
    return index;
  }

  async #create(
    key: string,
    gateway: Pick<GatewayManifest, 'namespace' | 'name'>,
    node: string,
    slot: number,
    wanted: number,
    installation = this.#installation,
  ): Promise<Waypoint> {
    const { nodes, network, plan, paths, env, records, onChange } = this.#options;
    const { namespace, name } = gateway;
    const taken = (this.#instances.get(key) ?? []).some((each) => each.index === wanted);
    const index = taken ? this.#freeIndex(key) : wanted;
    const netnsName = network.waypoint(namespace, name, index);
    await Promise.all([nodes.ensure(node), this.#ending.untilFree(netnsName)]);
    const addressKey = `${gatewayVipKey(key)} ${index}`;
    const addresses = plan.allocatePod(addressKey, node);
    let netns: string;
    try {
      netns = await network.addWaypoint(node, namespace, name, index, addresses);
    } catch (error) {
      plan.releasePod(addressKey);
      await network.removeWaypoint(netnsName, addresses);
      throw error;
    }
    const waypoint = new Waypoint({
      ...{ gateway: key, slot, index, instance: `${name}-${index}`, node, addresses, netns },
      command: waypointCommand(installation, { netns, gateway, node, plan, paths }),
      logPath: paths.waypointLog(namespace, name, index),
      ...{ env, records, onChange },
    });
    const all = [...(this.#instances.get(key) ?? []), waypoint];
    this.#instances.set(
      key,
      all.sort((a, b) => a.slot - b.slot || a.index - b.index),
    );
    onChange();
    if (!this.#stopped) waypoint.start();
    return waypoint;
  }

  /** Nobody is sent there any more before it ends; with its end its token is void. */
  #forget(key: string): void {
    const { tokens, paths, onChange } = this.#options;
    const instances = this.#instances.get(key) ?? [];
    this.#instances.delete(key);
    this.#problems.delete(key);
    onChange();
    const [namespace = '', name = ''] = key.split('/');
    const ended = Promise.all(instances.map((instance) => this.#ending.end(instance, 'removed')));
    void ended.then(() => {
      // Its Gateway may be back already, with a token that is in force.
      if (this.#instances.has(key)) return;
      tokens.revoke({ gateway: key });
      rmSync(dirname(paths.gatewayToken(namespace, name)), { recursive: true, force: true });
    });
  }
}

function both(addresses: Addresses): string[] {
  return addressesOf(addresses, ['IPv4', 'IPv6']);
}
