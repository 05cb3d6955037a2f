import { LoamError } from '../../lib/loam-error.ts';

export type InstallErrorCode =
  /** A value or flag that the user gave is not usable. */
  | 'INSTALL_INPUT'
  /** No cluster can be reached with the user's kubeconfig. */
  | 'INSTALL_ACCESS'
  /** The API server refused something. */
  | 'INSTALL_API'
  /** The installation is not in a state in which this can be done. */
  | 'INSTALL_STATE'
  /** Something did not become ready in time. */
  | 'INSTALL_NOT_READY';

/** What goes wrong with an installation in a cluster; the message says what to look at next. */
export class InstallError extends LoamError<InstallErrorCode> {}
