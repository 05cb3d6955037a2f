import type { PolicyStore } from '../../lib/mesh/state/policy-store.ts';
import type { WorkloadStore } from '../../lib/mesh/state/workload-store.ts';
import type { Log } from '../../lib/mesh/log.ts';
import type { ConfigStore } from '../../lib/mesh/waypoint/config-store.ts';
import type { RuntimeStore } from '../state/service-runtime.ts';
import type { WorkerTelemetry } from '../telemetry/worker-telemetry.ts';
import type { ClusterStore } from '../upstream/cluster-store.ts';
import type { HttpLimits } from './limits.ts';

/** What all requests of one worker share. */
export interface Engine {
  readonly config: ConfigStore;
  readonly runtimes: RuntimeStore;
  readonly clusters: ClusterStore;
  readonly workloads: WorkloadStore;
  /** L4 policies of the mesh: a DENY at a pod holds for clients that come through the waypoint too. */
  readonly policies: PolicyStore;
  readonly telemetry: WorkerTelemetry;
  readonly limits: HttpLimits;
  readonly identityUri: string;
  readonly log: Log;
  /** Requests under way. */
  readonly active: Set<object>;
  /** For what is signed for clients. */
  readonly sessionKey: () => Uint8Array;
}
