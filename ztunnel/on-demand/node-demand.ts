import { ADDRESS_TYPE } from '../../lib/mesh/xds/delta-service.ts';
import type { RawDelta } from '../../lib/mesh/xds/subscription.ts';
import type { AddressDelta, Service, Workload } from '../../lib/mesh/state/model.ts';
import type { WorkloadStore } from '../../lib/mesh/state/workload-store.ts';
import type { StateFeed } from '../control-plane.ts';
import { FollowedAddresses, type OwnPod } from './followed-addresses.ts';

export interface NodeDemandOptions {
  readonly node: string;
  readonly clusterId: string;
  readonly workloads: WorkloadStore;
  readonly feed: () => StateFeed | undefined;
  /** Takes a delta into force, in all threads. */
  readonly apply: (delta: AddressDelta) => void;
  /** Tells what is held for the next ztunnel. */
  readonly hold: (typeUrl: string, delta: RawDelta) => void;
  /** Tells the connection worker that these names were told of. */
  readonly tell: (names: readonly string[]) => void;
}

/** The main thread's part of following the mesh by what is needed: between the connection worker and the control plane. */
export class NodeDemand {
  readonly #options: NodeDemandOptions;
  readonly #followed: FollowedAddresses;
  #came: (Workload | Service)[] = [];

  constructor(options: NodeDemandOptions) {
    this.#options = options;
    const { node, clusterId, workloads, feed, apply, hold } = options;
    this.#followed = new FollowedAddresses({
      ...{ node, clusterId, workloads },
      ask: (names) => feed()?.ask(names),
      forget: (names, resources) => feed()?.forget(names, resources),
      drop: (removed) => {
        apply({ upserts: [], removed });
        hold(ADDRESS_TYPE, { upserts: [], removed });
      },
    });
  }

  /** The control plane can be asked from now on. @param restored resources of an earlier ztunnel, which are in force */
  begin(restored: readonly string[]): void {
    this.#followed.ask(restored);
    this.#options.feed()?.ask(this.#followed.names);
  }

  setPods(pods: readonly OwnPod[]): void {
    this.#followed.setPods(pods);
  }

  /** Connections need these. */
  ask(names: readonly string[]): void {
    this.#followed.ask(names);
  }

  /** No connection needs these any more. */
  forget(names: readonly string[]): void {
    this.#followed.forget(names);
  }

  /** A part of a response is in force. */
  came({ upserts }: AddressDelta): void {
    this.#came.push(...upserts);
  }

  /** All of a response is in force; it was about these names. */
  told(names: readonly string[]): void {
    const upserts = this.#came;
    this.#came = [];
    this.#options.tell(names);
    this.#followed.changed({ upserts, removed: [] });
  }
}
