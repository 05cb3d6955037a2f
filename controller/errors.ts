import { LoamError } from '../lib/loam-error.ts';

/** Everything that the controller itself throws. */
export type ControllerErrorCode =
  'CONFIG' | 'STATE' | 'MANIFESTS' | 'TOKENS' | 'CA_ROOT' | 'CA_CSR' | 'CA_IDENTITY' | 'LISTEN';

export class ControllerError extends LoamError<ControllerErrorCode> {}
