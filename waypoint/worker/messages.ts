import type { FlowBatch, WatchLevel } from '../../lib/flow/recorder.ts';
import type { ThreadMemory } from '../../lib/memory.ts';
import type { LogLevel } from '../../lib/mesh/log.ts';
import type { AddressDelta, PolicyDelta } from '../../lib/mesh/state/model.ts';
import type { CommonFromWorker, CommonToWorker } from '../../lib/mesh/worker/messages.ts';
import type { TelemetryBatch } from '../telemetry/worker-telemetry.ts';
import type { ResourceDelta } from '../../lib/mesh/waypoint/config-store.ts';

/** What one worker is started with. */
export interface WorkerStart {
  readonly gateway: { readonly namespace: string; readonly name: string };
  readonly node: string;
  readonly clusterId: string;
  readonly network: string;
  readonly trustDomain: string;
  readonly listen: { readonly host: string; readonly port: number };
  readonly logLevel: LogLevel;
  readonly maxTunnels: number;
  readonly maxConnections: number;
  /** Bytes that the process may use; 0: what the machine has. */
  readonly memoryLimit: number;
  /** For what is signed for clients, where the controller gives no key that all instances share. */
  readonly sessionKey: Uint8Array;
  /** Buckets of rate limits that all workers share (see resilience/shared-buckets). */
  readonly buckets: SharedArrayBuffer;
}

export interface WorkerStatus {
  readonly tunnelsIn: number;
  readonly tunnelsOut: number;
  readonly connections: number;
  readonly requests: number;
  /** Key sets of token issuers. */
  readonly jwks: readonly { readonly uri: string; readonly keys: number; readonly stale: boolean }[];
  /** Longest time since the last status for which the event loop was blocked, in milliseconds. */
  readonly maxLoopDelayMs: number;
  /** Of the worker's own heap, in bytes: what is used, and what it may have. */
  readonly heapUsed: number;
  readonly heapLimit: number;
}

/** What can be asked of a worker, and the type of the answer. */
export interface Requests {
  readonly upstreams: { readonly request: Record<never, never>; readonly answer: readonly object[] };
  /** Sends all telemetry that waits. */
  readonly flush: { readonly request: Record<never, never>; readonly answer: 'ok' };
  readonly memory: { readonly request: { readonly collect: boolean }; readonly answer: ThreadMemory };
}

/** What only a waypoint's worker is told. */
export type OwnToWorker =
  | { readonly type: 'addresses'; readonly delta: AddressDelta }
  | { readonly type: 'policies'; readonly delta: PolicyDelta }
  | { readonly type: 'resources'; readonly delta: ResourceDelta }
  | { readonly type: 'watch-flows'; readonly level: WatchLevel };

/** What only a waypoint's worker tells. */
export type OwnFromWorker =
  | { readonly type: 'listening' }
  | { readonly type: 'telemetry'; readonly batch: TelemetryBatch }
  | { readonly type: 'flows'; readonly batch: FlowBatch };

export type ToWorker = CommonToWorker<Requests> | OwnToWorker;
export type FromWorker = CommonFromWorker<WorkerStatus> | OwnFromWorker;
