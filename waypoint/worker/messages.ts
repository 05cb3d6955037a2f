import type { CertificateBundle } from '../../lib/mesh/identity/certificate-bundle.ts';
import type { AddressDelta, PolicyDelta } from '../../lib/mesh/state/model.ts';
import type { TelemetryBatch } from '../telemetry/worker-telemetry.ts';
import type { ResourceDelta } from '../state/config-store.ts';

export type LogLevel = 'debug' | 'info' | 'warn' | 'error';

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
}

/** What can be asked of a worker. */
export type Question = 'upstreams' | 'flush';

/** Main thread to worker. Messages are handled in order. */
export type ToWorker =
  | { readonly type: 'addresses'; readonly delta: AddressDelta }
  | { readonly type: 'policies'; readonly delta: PolicyDelta }
  | { readonly type: 'resources'; readonly delta: ResourceDelta }
  /** The first state of all types was sent: from here on, what is missing does not exist. */
  | { readonly type: 'first-state' }
  | { readonly type: 'certificate'; readonly bundle: CertificateBundle }
  | { readonly type: 'certificate-gone'; readonly identity: string }
  | { readonly type: 'log-level'; readonly level: LogLevel }
  | { readonly type: 'ask'; readonly id: number; readonly what: Question }
  | { readonly type: 'drain'; readonly deadlineMs: number };

/** Worker to main thread. */
export type FromWorker =
  | { readonly type: 'listening' }
  | { readonly type: 'answer'; readonly id: number; readonly value: unknown }
  | { readonly type: 'certificate-wanted'; readonly identity: string }
  | { readonly type: 'status'; readonly status: WorkerStatus }
  | { readonly type: 'telemetry'; readonly batch: TelemetryBatch }
  | {
      readonly type: 'log';
      readonly level: LogLevel;
      readonly message: string;
      readonly fields: Readonly<Record<string, unknown>>;
    }
  | { readonly type: 'drained'; readonly cut: number };
