import type { AddressDelta, PolicyDelta } from '../../lib/mesh/state/model.ts';
import type { AccessRecord } from '../telemetry/access-record.ts';
import type { MetricsBatch } from '../telemetry/flow-metrics.ts';
import type { CertificateBundle } from '../../lib/mesh/identity/certificate-bundle.ts';
import type { ConnectionRow, Direction } from '../proxy/connection-registry.ts';
import type { Limits } from '../proxy/mesh.ts';
import type { ListenerFds } from '../proxy/pod-proxy.ts';
import type { MapFds } from '../proxy/kernel-sockets.ts';
import type { PodInfo } from '../proxy/pod.ts';

export type LogLevel = 'debug' | 'info' | 'warn' | 'error';

/** What the connection worker is started with. */
export interface WorkerStart {
  readonly clusterId: string;
  readonly trustDomain: string;
  readonly limits: Limits;
  readonly logLevel: LogLevel;
}

/** A pod's descriptors; whoever gets the message owns them. */
export type PodFds = ListenerFds & { readonly netns: number };

/** What can be asked of the worker, and the type of the answer. */
export interface Requests {
  'add-pod': { readonly request: { readonly pod: PodInfo; readonly fds: PodFds }; readonly answer: 'ok' };
  connections: { readonly request: Record<never, never>; readonly answer: readonly ConnectionRow[] };
  metrics: { readonly request: Record<never, never>; readonly answer: MetricsBatch };
}

export interface WorkerStatus {
  readonly connections: Readonly<Record<Direction, number>>;
  readonly tunnels: number;
  readonly tunnelStreams: number;
  readonly pods: number;
  /** Longest time since the last status for which the event loop was blocked, in milliseconds. */
  readonly maxLoopDelayMs: number;
}

/** Main thread to connection worker. Messages are handled in order. */
export type ToWorker =
  | {
      [K in keyof Requests]: {
        readonly type: 'request';
        readonly id: number;
        readonly what: K;
        readonly body: Requests[K]['request'];
      };
    }[keyof Requests]
  | { readonly type: 'maps'; readonly fds: MapFds }
  | { readonly type: 'remove-pod'; readonly uid: string }
  | { readonly type: 'addresses'; readonly delta: AddressDelta }
  | { readonly type: 'policies'; readonly delta: PolicyDelta }
  /** The first addresses and policies were all sent. */
  | { readonly type: 'first-state' }
  | { readonly type: 'certificate'; readonly bundle: CertificateBundle }
  | { readonly type: 'certificate-gone'; readonly identity: string }
  | { readonly type: 'log-level'; readonly level: LogLevel }
  | { readonly type: 'drain'; readonly deadlineMs: number };

/** Connection worker to main thread. */
export type FromWorker =
  | { readonly type: 'answer'; readonly id: number; readonly value: unknown }
  | { readonly type: 'failed'; readonly id: number; readonly error: string }
  /** A connection waits for the certificate of this SPIFFE URI. */
  | { readonly type: 'certificate-wanted'; readonly identity: string }
  | { readonly type: 'metrics'; readonly batch: MetricsBatch }
  | { readonly type: 'status'; readonly status: WorkerStatus }
  | { readonly type: 'access'; readonly records: readonly AccessRecord[] }
  | {
      readonly type: 'log';
      readonly level: LogLevel;
      readonly message: string;
      readonly fields: Readonly<Record<string, unknown>>;
    }
  | { readonly type: 'drained'; readonly cut: number };
