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
import { WAYPOINT_DRAIN_MS, waypointCommand } from './programs.ts';
import type { TokenFile } from './tokens.ts';
import { Waypoint } from './waypoint.ts';
import { waypointPlace } from './waypoint-place.ts';

/** Beyond the time for which it may end what it serves, when it alone is removed. */
const GRACE_MS = WAYPOINT_DRAIN_MS + 1_000;
/** When the mesh goes down: its pods are gone then, so that it has nothing left to serve. */
const DOWN_GRACE_MS = 2_000;

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
  /** Instances on their way out, by the name of their network namespace: it is free for the next one afterwards. */
  readonly #ending = new Map<string, Promise<void>>();
  #stopped = false;

  constructor(options: WaypointPoolOptions) {
    this.#options = options;
  }

  get all(): readonly Waypoint[] {
    return [...this.#instances.values()].flat();
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
    await Promise.all([
      ...this.all.map((instance) => instance.stop(DOWN_GRACE_MS)),
      ...this.#ending.values(),
    ]);
  }

  async #applyOne(key: string, gateway: GatewayManifest, podNodes: ReadonlySet<string>): Promise<void> {
    const { tokens, paths, onChange } = this.#options;
    const before = this.#instances.get(key);
    const place = waypointPlace(gateway, podNodes, before?.[0]?.node);
    const waits = place.nodes.length === 0 ? ['waits for a pod: the mesh has no node yet to run on'] : [];
    this.#problems.set(key, [...place.problems, ...waits]);
    if (before === undefined)
      tokens.issue({ gateway: key }, paths.gatewayToken(gateway.namespace, gateway.name));
    const stays = (before ?? []).filter(({ node, index }) => node === place.nodes[index]);
    const goes = (before ?? []).filter((instance) => !stays.includes(instance));
    this.#instances.set(key, stays);
    if (goes.length > 0) onChange();
    for (const instance of goes) void this.#end(instance);
    const missing = place.nodes.flatMap((node, i) =>
      stays.some(({ index }) => index === i) ? [] : [{ node, i }],
    );
    await Promise.all(missing.map(({ node, i }) => this.#create(key, gateway, node, i)));
  }

  async #create(key: string, gateway: GatewayManifest, node: string, index: number): Promise<void> {
    const { nodes, network, plan, paths, env, records, onChange } = this.#options;
    const { namespace, name } = gateway;
    const netnsName = network.waypoint(namespace, name, index);
    await Promise.all([nodes.ensure(node), this.#ending.get(netnsName)]);
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
      ...{ gateway: key, index, instance: `${name}-${index}`, node, addresses, netns },
      command: waypointCommand({ netns, gateway, node, plan, paths }),
      logPath: paths.waypointLog(namespace, name, index),
      ...{ env, records, onChange },
    });
    const all = [...(this.#instances.get(key) ?? []), waypoint];
    this.#instances.set(
      key,
      all.sort((a, b) => a.index - b.index),
    );
    onChange();
    if (!this.#stopped) waypoint.start();
  }

  /** Nobody is sent there any more before it ends; with its end its token is void. */
  #forget(key: string): void {
    const { tokens, paths, onChange } = this.#options;
    const instances = this.#instances.get(key) ?? [];
    this.#instances.delete(key);
    this.#problems.delete(key);
    onChange();
    const [namespace = '', name = ''] = key.split('/');
    const ended = Promise.all(instances.map((instance) => this.#end(instance)));
    void ended.then(() => {
      // Its Gateway may be back already, with a token that is in force.
      if (this.#instances.has(key)) return;
      tokens.revoke({ gateway: key });
      rmSync(dirname(paths.gatewayToken(namespace, name)), { recursive: true, force: true });
    });
  }

  #end(waypoint: Waypoint): Promise<void> {
    const { plan, network, log } = this.#options;
    const { gateway, index, netns } = waypoint;
    const ended = waypoint
      .stop(this.#stopped ? DOWN_GRACE_MS : GRACE_MS)
      .then(() => network.removeWaypoint(netns, waypoint.addresses))
      // What is left over is found by its name when the mesh goes down.
      .catch((error: unknown) => log.line(`waypoint ${gateway}: ${errorText(error)}`))
      .then(() => {
        plan.releasePod(`${gatewayVipKey(gateway)} ${index}`);
        this.#ending.delete(netns);
      });
    this.#ending.set(netns, ended);
    return ended;
  }
}

function both(addresses: Addresses): string[] {
  return addressesOf(addresses, ['IPv4', 'IPv6']);
}
