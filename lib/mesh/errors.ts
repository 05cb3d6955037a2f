import { LoamError } from '../loam-error.ts';

/** What can go wrong between a proxy of the mesh and its control plane or peers; operators search for these words. */
export type MeshErrorCode =
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

/** The error family of the programs that carry traffic. */
export class MeshError extends LoamError<MeshErrorCode> {}
