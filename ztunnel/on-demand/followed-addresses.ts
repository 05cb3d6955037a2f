import type { AddressDelta, GatewayAddress, Service, Workload } from '../../lib/mesh/state/model.ts';
import type { WorkloadStore } from '../../lib/mesh/state/workload-store.ts';
import { waypointsOf } from '../../lib/mesh/outbound/waypoint.ts';

export interface FollowedOptions {
  /** This node's name. */
  readonly node: string;
  readonly clusterId: string;
  /** What is in force. */
  readonly workloads: WorkloadStore;
  readonly ask: (names: readonly string[]) => void;
  /** Takes subscriptions back: of names that were asked for, and of resources that came along with them. */
  readonly forget: (names: readonly string[], resources: readonly string[]) => void;
  /** Takes resources out of force. */
  readonly drop: (resources: readonly string[]) => void;
}

/** A pod of this node. */
export interface OwnPod {
  readonly namespace: string;
  readonly name: string;
}

/**
 * What this node follows of the mesh where it does not follow all: its own pods with their Services and waypoints, and what its
 * connections ask for. What nobody needs any more goes, with all that came along; and so does what comes when it is not needed
 * any more, since the control plane says nothing more of it.
 */
export class FollowedAddresses {
  readonly #options: FollowedOptions;
  readonly #asked = new Set<string>();
  #pins: ReadonlySet<string> = new Set();
  #pods: readonly OwnPod[] = [];

  constructor(options: FollowedOptions) {
    this.#options = options;
  }

  /** All that is followed. */
  get names(): string[] {
    return [...new Set([...this.#asked, ...this.#pins])];
  }

  /** Connections need these. */
  ask(names: readonly string[]): void {
    // What is followed for a pod's sake is asked for again: somebody waits for the answer.
    const fresh = names.filter((name) => !this.#asked.has(name));
    for (const name of names) this.#asked.add(name);
    if (fresh.length > 0) this.#options.ask(fresh);
  }

  /** No connection needs these any more. */
  forget(names: readonly string[]): void {
    for (const name of names) this.#asked.delete(name);
    this.#dropUnneeded(names);
  }

  /** The pods of this node are these. */
  setPods(pods: readonly OwnPod[]): void {
    this.#pods = pods;
    this.#pin();
  }

  /** To be called after each change of what is in force. */
  changed({ upserts }: AddressDelta): void {
    this.#pin();
    const { drop, forget } = this.#options;
    const late = upserts.filter((resource) => !this.#isNeeded(resource)).map(nameOf);
    if (late.length === 0) return;
    forget([], late);
    drop(late);
  }

  #isFollowed(name: string): boolean {
    return this.#asked.has(name) || this.#pins.has(name);
  }

  #pin(): void {
    const { clusterId, workloads } = this.#options;
    const pins = new Set<string>();
    const pinGateway = (gateway: GatewayAddress): void =>
      void pins.add(
        gateway.by === 'hostname' ? gateway.service : `${gateway.address.network}/${gateway.address.ip}`,
      );
    for (const { namespace, name } of this.#pods) {
      const uid = `${clusterId}//Pod/${namespace}/${name}`;
      pins.add(uid);
      const workload = workloads.byUid(uid);
      if (workload?.waypoint !== undefined) pinGateway(workload.waypoint);
      for (const { service: key } of workload?.services ?? []) {
        pins.add(key);
        const service = workloads.service(key);
        if (service !== undefined) for (const { gateway } of waypointsOf(service)) pinGateway(gateway);
      }
    }
    const fresh = [...pins].filter((name) => !this.#isFollowed(name));
    const former = [...this.#pins].filter((name) => !pins.has(name));
    this.#pins = pins;
    if (fresh.length > 0) this.#options.ask(fresh);
    if (former.length > 0) this.#dropUnneeded(former);
  }

  #dropUnneeded(names: readonly string[]): void {
    const { workloads, forget, drop } = this.#options;
    const gone = names.filter((name) => !this.#isFollowed(name));
    if (gone.length === 0) return;
    const held = [...workloads.workloads(), ...workloads.services()];
    const needed = new Set(held.filter((resource) => this.#isNeeded(resource)).map(nameOf));
    const unneeded = held.map(nameOf).filter((name) => !needed.has(name));
    // What stays for another reason is not taken back by its name: the control plane would take it for dropped, and say no more of it.
    forget(
      gone.filter((name) => !needed.has(name)),
      unneeded,
    );
    if (unneeded.length > 0) drop(unneeded);
  }

  #isNeeded(resource: Workload | Service): boolean {
    if (resource.kind === 'service')
      return (
        this.#isFollowed(resource.key) ||
        resource.addresses.some(({ network, ip }) => this.#isFollowed(`${network}/${ip}`))
      );
    const { uid, node, network, addresses, services } = resource;
    if (node === this.#options.node || this.#isFollowed(uid)) return true;
    if (addresses.some((ip) => this.#isFollowed(`${network}/${ip}`))) return true;
    return services.some(({ service: key }) => {
      const service = this.#options.workloads.service(key);
      return this.#isFollowed(key) || (service !== undefined && this.#isNeeded(service));
    });
  }
}

function nameOf(resource: Workload | Service): string {
  return resource.kind === 'service' ? resource.key : resource.uid;
}
