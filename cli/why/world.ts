import { errorText } from '../../lib/loam-error.ts';
import type { Workload } from '../../lib/mesh/state/model.ts';
import { MeshError } from '../mesh/errors.ts';
import type { KernelPod, MeshInventory, MeshPod, MeshReader, PlainServices } from '../mesh/reader.ts';
import { nodeState, waypointState, type NodeState, type WaypointState } from '../mesh/stores.ts';

/** Why a program's configuration is not to be had. */
export interface Absent {
  readonly absent: string;
}

/** What programs would go by, in place of what they do. */
export interface Proposed {
  /** What they do. */
  readonly present: World;
  readonly node: (present: NodeState) => NodeState;
  readonly waypoint: (present: WaypointState) => WaypointState;
}

/** All that the programs and the kernel hold, each read once. What it tells is of the moment of its first reading. */
export class World {
  readonly inventory: MeshInventory;
  readonly plainServices: PlainServices;
  readonly #reader: MeshReader;
  readonly #proposed: Proposed | undefined;
  readonly #nodes = new Map<string, Promise<NodeState | Absent>>();
  readonly #waypoints = new Map<string, Promise<WaypointState | Absent>>();
  readonly #kernel = new Map<string, Promise<KernelPod>>();
  readonly #withheld = new Set<string>();

  /** @param proposed what counts in place of what programs hold; the kernel is as it is */
  constructor(reader: MeshReader, inventory: MeshInventory, proposed?: Proposed) {
    this.#reader = reader;
    this.inventory = inventory;
    this.#proposed = proposed;
    this.plainServices = reader.plainServices;
  }

  static async read(reader: MeshReader): Promise<World> {
    return new World(reader, await reader.inventory());
  }

  /** What the ztunnel of a node goes by. */
  node(node: string): Promise<NodeState | Absent> {
    return once(this.#nodes, node, () =>
      this.#proposed === undefined
        ? this.#orAbsent(async () =>
            nodeState(node, await this.#reader.get({ program: 'ztunnel', node }, '/config_dump')),
          )
        : changed(this.#proposed.present.node(node), this.#proposed.node),
    );
  }

  /** What the instance of a waypoint goes by. */
  waypointAt({ namespace, addresses }: Workload): Promise<WaypointState | Absent> {
    const found = this.inventory.waypoints.find(
      (each) => each.namespace === namespace && each.ips.some((ip) => addresses.includes(ip)),
    );
    if (found === undefined)
      return Promise.resolve({ absent: `no waypoint is known at ${addresses.join(', ')}` });
    return this.waypointNamed(namespace, found.instance);
  }

  waypointNamed(namespace: string, instance: string): Promise<WaypointState | Absent> {
    return once(this.#waypoints, `${namespace}/${instance}`, () =>
      this.#proposed === undefined
        ? this.#orAbsent(async () =>
            waypointState(
              `${namespace}/${instance}`,
              await this.#reader.get({ program: 'waypoint', namespace, instance }, '/config_dump'),
            ),
          )
        : changed(this.#proposed.present.waypointNamed(namespace, instance), this.#proposed.waypoint),
    );
  }

  kernel(pod: MeshPod): Promise<KernelPod> {
    return once(this.#kernel, pod.uid, async () => {
      try {
        return await this.#reader.kernel(pod);
      } catch (error) {
        const unread = errorText(error);
        this.#withheld.add(unread);
        return { enrolled: false, unknown: true, unread };
      }
    });
  }

  /** What was asked for and could not be told, such as for want of a right: what follows from it is a guess. */
  get withheld(): readonly string[] {
    return [...this.#withheld, ...(this.#proposed?.present.withheld ?? [])];
  }

  async #orAbsent<T>(read: () => Promise<T>): Promise<T | Absent> {
    try {
      return await read();
    } catch (error) {
      const absent = errorText(error);
      if (error instanceof MeshError && error.code === 'MESH_RIGHTS') this.#withheld.add(absent);
      return { absent };
    }
  }

  podAt(ip: string): MeshPod | undefined {
    return this.inventory.pods.find(({ ips }) => ips.includes(ip));
  }

  podNamed(namespace: string, name: string): MeshPod | undefined {
    return this.inventory.pods.find((pod) => pod.namespace === namespace && pod.name === name);
  }
}

async function changed<T extends object>(
  present: Promise<T | Absent>,
  change: (state: T) => T,
): Promise<T | Absent> {
  const state = await present;
  return 'absent' in state ? state : change(state);
}

function once<V>(known: Map<string, Promise<V>>, key: string, make: () => Promise<V>): Promise<V> {
  let value = known.get(key);
  if (value === undefined) known.set(key, (value = make()));
  return value;
}

/** Pods whose traffic the kernel turns into the mesh, now. */
export function isInMesh(kernel: KernelPod): boolean {
  return kernel.enrolled && kernel.off === undefined;
}
