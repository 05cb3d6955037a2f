import type { AddressDelta, PolicyDelta } from '../../lib/mesh/state/model.ts';
import type { EgressDelta } from '../../lib/mesh/egress/model.ts';
import type { FlowBatch, WatchLevel } from '../../lib/flow/recorder.ts';
import type { ThreadMemory } from '../../lib/memory.ts';
import type { SpanRecord } from '../../lib/mesh/telemetry/span.ts';
import type { AccessRecord } from '../../lib/mesh/telemetry/access-log.ts';
import type { MetricsBatch } from '../telemetry/flow-metrics.ts';
import type { LogLevel } from '../../lib/mesh/log.ts';
import type { CommonFromWorker, CommonToWorker } from '../../lib/mesh/worker/messages.ts';
import type { ConnectionRow, Direction } from '../proxy/connection-registry.ts';
import type { Limits } from '../proxy/mesh.ts';
import type { ListenerFds } from '../proxy/pod-proxy.ts';
import type { MapFds } from '../proxy/kernel-sockets.ts';
import type { PodInfo } from '../proxy/pod.ts';

/** What the connection worker is started with. */
export interface WorkerStart {
  readonly clusterId: string;
  readonly trustDomain: string;
  readonly limits: Limits;
  /** Whether the control plane tells what the pods may call: nothing is let out before it did. */
  readonly egress: boolean;
  /** Whether what is dialled is asked for, since the node does not follow the whole mesh. */
  readonly onDemand: boolean;
  readonly logLevel: LogLevel;
  /** Bytes that the process may use; 0: what the machine has. */
  readonly memoryLimit: number;
}

/** A pod's descriptors; whoever gets the message owns them. */
export type PodFds = ListenerFds & { readonly netns: number };

/** What can be asked of the worker, and the type of the answer. */
export interface Requests {
  'add-pod': { readonly request: { readonly pod: PodInfo; readonly fds: PodFds }; readonly answer: 'ok' };
  /** Answered when all listeners are accepted on; or none is. */
  accept: { readonly request: { readonly accepting: boolean }; readonly answer: 'ok' };
  connections: { readonly request: Record<never, never>; readonly answer: readonly ConnectionRow[] };
  metrics: { readonly request: Record<never, never>; readonly answer: MetricsBatch };
  memory: { readonly request: { readonly collect: boolean }; readonly answer: ThreadMemory };
}

export interface WorkerStatus {
  readonly connections: Readonly<Record<Direction, number>>;
  readonly tunnels: number;
  readonly tunnelStreams: number;
  readonly pods: number;
  /** Longest time since the last status for which the event loop was blocked, in milliseconds. */
  readonly maxLoopDelayMs: number;
  /** Of the worker's own heap, in bytes: what is used, and what it may have. */
  readonly heapUsed: number;
  readonly heapLimit: number;
}

/** What only a ztunnel's worker is told. */
export type OwnToWorker =
  | { readonly type: 'maps'; readonly fds: MapFds }
  | { readonly type: 'remove-pod'; readonly uid: string }
  | { readonly type: 'release-pod'; readonly uid: string }
  | { readonly type: 'addresses'; readonly delta: AddressDelta }
  /** What the control plane told of these names is in force; `restored`: it is from before, and nobody has asked yet. */
  | { readonly type: 'addresses-told'; readonly names: readonly string[]; readonly restored?: true }
  | { readonly type: 'policies'; readonly delta: PolicyDelta }
  | { readonly type: 'egress'; readonly delta: EgressDelta }
  | { readonly type: 'watch-flows'; readonly level: WatchLevel };

/** What only a ztunnel's worker tells. */
export type OwnFromWorker =
  /** Connections wait for what there is under these names, or need it no more. */
  | { readonly type: 'addresses-wanted'; readonly names: readonly string[] }
  | { readonly type: 'addresses-unwanted'; readonly names: readonly string[] }
  | { readonly type: 'metrics'; readonly batch: MetricsBatch }
  | { readonly type: 'access'; readonly records: readonly AccessRecord[] }
  /** `lost`: those that did not fit. */
  | { readonly type: 'spans'; readonly spans: readonly SpanRecord[]; readonly lost: number }
  | { readonly type: 'flows'; readonly batch: FlowBatch };

export type ToWorker = CommonToWorker<Requests> | OwnToWorker;
export type FromWorker = CommonFromWorker<WorkerStatus> | OwnFromWorker;
