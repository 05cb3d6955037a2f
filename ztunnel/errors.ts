import { LoamError } from '../lib/loam-error.ts';

/** What can go wrong in the node's tunnel; operators search for these words. */
export type ZtunnelErrorCode =
  // control plane
  | 'RESOURCE_INVALID'
  | 'XDS_STREAM'
  | 'XDS_PROTOCOL'
  | 'FILE_UNREADABLE'
  // certificates
  | 'CA_UNAVAILABLE'
  | 'CA_REFUSED'
  | 'CERTIFICATE_INVALID'
  | 'CERTIFICATE_TIMEOUT'
  | 'PEER_IDENTITY'
  // data path
  | 'CONFIG'
  | 'ZDS'
  | 'UPSTREAM'
  | 'HBONE'
  | 'POLICY_DENIED';

/** The error family of the ztunnel program. */
export class ZtunnelError extends LoamError<ZtunnelErrorCode> {}
