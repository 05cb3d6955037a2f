/** What the reconciler hands to node proxies, and what it learns back. */
import type { Listeners } from '../redirection-port.ts';

/** An enrolled pod as a proxy gets it. The descriptors stay the giver's. */
export interface Workload {
  readonly uid: string;
  readonly name: string;
  readonly namespace: string;
  readonly serviceAccount: string;
  readonly ips: readonly string[];
  readonly netnsFd: number;
  readonly listeners: Listeners;
  /** Grows whenever the namespace or the listeners are other ones: proxies get it again then. */
  readonly generation: number;
}

/** Everything that proxies shall have. */
export interface Handover {
  readonly workloads: ReadonlyMap<string, Workload>;
  /** Enrolled pods that there is no namespace for at the moment: a proxy that has them keeps them. */
  readonly keep: ReadonlySet<string>;
  /** Pods that have left the mesh and live on: what they have open through a proxy is not to be cut. */
  readonly released: ReadonlySet<string>;
}

/** How far a workload is with the proxy that connected last. */
export type HandoverState =
  | { readonly state: 'no-proxy' }
  | { readonly state: 'pending' }
  | { readonly state: 'acknowledged' }
  | { readonly state: 'refused'; readonly message: string };

export interface WorkloadHandover {
  /** Level-triggered: the differences to what each proxy has are sent. */
  sync(handover: Handover): void;
  stateOf(uid: string): HandoverState;
}
