import { LoamError } from '../../../lib/loam-error.ts';

export type ClusterErrorCode =
  /** A program of the cluster could not be built from its Go module. */
  | 'CLUSTER_BUILD'
  /** The machine lacks something, or a command of it failed. */
  | 'CLUSTER_MACHINE'
  /** Something did not become ready in time. */
  | 'CLUSTER_NOT_READY'
  /** Another one of the same name runs. */
  | 'CLUSTER_STATE';

/** What goes wrong with a test cluster; the message says what to look at. */
export class ClusterError extends LoamError<ClusterErrorCode> {}
