import type { Log } from '../../lib/mesh/log.ts';
import type { FirstState } from '../../lib/mesh/state/first-state.ts';
import type { WorkloadStore } from '../../lib/mesh/state/workload-store.ts';
import type { PolicyStore } from '../../lib/mesh/state/policy-store.ts';
import type { CertificateStore } from '../../lib/mesh/hbone/certificate-store.ts';
import type { DescriptorReserve } from '../../lib/mesh/hbone/descriptor-reserve.ts';
import type { MemoryReserve } from '../../lib/mesh/hbone/memory-reserve.ts';
import type { HbonePool } from '../../lib/mesh/hbone/hbone-pool.ts';
import type { AddressDemand } from '../on-demand/address-demand.ts';
import type { EgressStore } from '../../lib/mesh/egress/egress-store.ts';
import type { MemoryRelief } from './memory-relief.ts';
import type { Telemetry } from './tracked-connection.ts';

export type { Log } from '../../lib/mesh/log.ts';

/** What the pods of one worker thread share. */
export interface Mesh extends Telemetry {
  readonly clusterId: string;
  readonly trustDomain: string;
  /** Nothing is decided before it is complete. */
  readonly firstState: FirstState;
  readonly workloads: WorkloadStore;
  readonly policies: PolicyStore;
  /** What the pods may call; undefined where the control plane does not tell it, and nothing is restricted. */
  readonly egress: EgressStore | undefined;
  /** Who asks for what connections need; undefined where the node follows the whole mesh. */
  readonly demand: AddressDemand | undefined;
  readonly certificates: CertificateStore;
  readonly pool: HbonePool;
  readonly log: Log;
  readonly limits: Limits;
  readonly descriptors: DescriptorReserve;
  readonly memory: MemoryReserve;
  readonly relief: MemoryRelief;
}

/** Bounds, so that one pod cannot take the node's descriptors and memory from the others, nor wait for ever. */
export interface Limits {
  /** Connections of the pod's applications, in and out together. */
  readonly connectionsPerPod: number;
  /** Tunnels (TCP connections) into a pod's HBONE port. */
  readonly tunnelsPerPod: number;
  /** How long a connection waits for what the control plane has yet to tell: own workload, a policy, a certificate. */
  readonly stateWaitMs: number;
}
