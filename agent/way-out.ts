/**
 * Pods that leave the mesh by their label while they live. Nodes and control plane learn of a label in no order, so a pod's way out
 * has two steps: first it has plain networking for what is new, while its peers' tunnels are still taken; some seconds
 * later redirection ends, and what is open through the node proxy goes on to its end.
 */
import type { Clock } from './clock.ts';
import type { Log } from './log.ts';
import type { NodePort, OpenNetns } from './node-port.ts';
import { podName, type PodRecord } from './pod-record.ts';
import type { RedirectionPort } from './redirection-port.ts';

/** For so long peers may take to learn that a pod has left. */
export const LEAVE_MS = 5_000;

export interface WayOutOptions {
  readonly redirection: Pick<RedirectionPort, 'leave' | 'stay'>;
  readonly node: Pick<NodePort, 'usesSources' | 'dropSources' | 'closeNetns'>;
  readonly clock: Clock;
  readonly log: Log;
}

export class WayOut {
  readonly #options: WayOutOptions;
  /** Uids of the pods that have left and may live. */
  readonly #left = new Set<string>();
  /** Namespaces whose routes of private sources stay for connections that go on. */
  readonly #routes = new Map<bigint, OpenNetns>();

  constructor(options: WayOutOptions) {
    this.#options = options;
  }

  get left(): ReadonlySet<string> {
    return this.#left;
  }

  /** The first step. @returns whether the pod is still on its way; false: the second step is due */
  isUnderWay(record: PodRecord): boolean {
    const { redirection, clock, log } = this.#options;
    if (record.netns === undefined) return false;
    if (record.leaving === undefined) {
      redirection.leave(record.netns.cookie);
      record.leaving = clock.now();
      log.info(
        { uid: record.spec.uid, pod: podName(record.spec) },
        'the pod leaves the mesh: what is new goes plain',
      );
    }
    return clock.now() < record.leaving + LEAVE_MS;
  }

  /** The second step was taken. @returns what becomes of the routes of its private sources; `stay`: the namespace is this object's now */
  leaves({ spec, netns }: PodRecord): 'go' | 'stay' {
    this.#left.add(spec.uid);
    if (netns === undefined || !this.#options.node.usesSources(netns)) return 'go';
    this.#routes.set(netns.cookie, netns);
    return 'stay';
  }

  /** A pod's label is back, or it never was away. @param wasLeaving as the kernel has it, whichever process wrote it */
  stays(record: PodRecord, wasLeaving: boolean): void {
    record.leaving = undefined;
    this.#left.delete(record.spec.uid);
    if (record.netns === undefined) return;
    this.#letGo(record.netns.cookie);
    if (wasLeaving) this.#options.redirection.stay(record.netns.cookie);
  }

  /** Forgets pods that have ended, and takes routes away that nothing uses any more. @param alive uids */
  tidy(alive: ReadonlyMap<string, unknown>): void {
    for (const uid of this.#left) if (!alive.has(uid)) this.#left.delete(uid);
    for (const [cookie, netns] of this.#routes) {
      if (this.#options.node.usesSources(netns)) continue;
      this.#options.node.dropSources(netns);
      this.#letGo(cookie);
    }
  }

  #letGo(cookie: bigint): void {
    const netns = this.#routes.get(cookie);
    if (netns === undefined) return;
    this.#options.node.closeNetns(netns);
    this.#routes.delete(cookie);
  }
}
