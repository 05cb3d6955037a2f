import { LoamError } from '../../loam-error.ts';
import { assertNever } from '../../assert-never.ts';

/** Why a connection could not be carried, or was ended. */
export type ProxyErrorCode =
  | 'NO_ORIGINAL_DST'
  | 'ILLEGAL_TARGET'
  | 'SOURCE_UNKNOWN'
  | 'DESTINATION_UNKNOWN'
  | 'REFUSED_DESTINATION'
  | 'WAYPOINT_UNAVAILABLE'
  | 'NO_CERTIFICATE'
  | 'PEER_IDENTITY'
  | 'TLS_FAILURE'
  | 'H2_FAILURE'
  | 'CONNECT_FAILED'
  | 'CONNECT_TIMEOUT'
  | 'MAYBE_NETWORK_POLICY'
  | 'POLICY_DENIED'
  | 'POLICY_CHANGED'
  | 'EGRESS_DENIED'
  | 'EGRESS_CHANGED'
  | 'REGISTRY_ONLY'
  | 'BAD_REQUEST'
  | 'PEER_REFUSED'
  | 'STREAM_REFUSED'
  | 'TOO_MANY_CONNECTIONS'
  | 'CONNECTION_LOST'
  | 'POD_GONE'
  | 'MEMORY_SCARCE'
  | 'DRAINED';

/**
 * `response_flags` of metrics and access log (ambient-facts C12). Three are Loam's own. `WAYPOINT`: the waypoint through
 * which the connection must go does not exist, has no healthy instance, or none that was tried could be connected.
 * `EGRESS`: no EgressPolicy that selects the caller allows what it dialled. `REGISTRY_ONLY`: the mesh does not know what
 * was dialled, and its settings refuse that.
 */
export type ResponseFlag =
  | '-'
  | 'DENY'
  | 'CONNECT'
  | 'TLS_FAILURE'
  | 'H2_HANDSHAKE_FAILURE'
  | 'NETWORK_POLICY'
  | 'IDENTITY_ERROR'
  | 'WAYPOINT'
  | 'EGRESS'
  | 'REGISTRY_ONLY';

/**
 * The error family of the data path. `policy` names the policy that denied, where one did; `status` is what the peer
 * answered a CONNECT with, where it was reached and said no. `unused` tells that the connection was lost before anything
 * of the application's went over it, so that another try is safe.
 */
export class ProxyError extends LoamError<ProxyErrorCode> {
  readonly policy: string | undefined;
  readonly status: number | undefined;
  readonly unused: boolean;

  constructor(
    code: ProxyErrorCode,
    message: string,
    options?: { cause?: unknown; policy?: string; status?: number; unused?: boolean },
  ) {
    super(code, message, options);
    this.policy = options?.policy;
    this.status = options?.status;
    this.unused = options?.unused ?? code === 'STREAM_REFUSED';
  }
}

/** The response flag that stands for an error. */
export function responseFlag(code: ProxyErrorCode): ResponseFlag {
  switch (code) {
    case 'POLICY_DENIED':
    case 'POLICY_CHANGED':
      return 'DENY';
    case 'EGRESS_DENIED':
    case 'EGRESS_CHANGED':
      return 'EGRESS';
    case 'REGISTRY_ONLY':
      return 'REGISTRY_ONLY';
    case 'NO_CERTIFICATE':
      return 'IDENTITY_ERROR';
    case 'TLS_FAILURE':
    case 'PEER_IDENTITY':
      return 'TLS_FAILURE';
    case 'H2_FAILURE':
      return 'H2_HANDSHAKE_FAILURE';
    case 'MAYBE_NETWORK_POLICY':
      return 'NETWORK_POLICY';
    case 'WAYPOINT_UNAVAILABLE':
      return 'WAYPOINT';
    case 'NO_ORIGINAL_DST':
    case 'ILLEGAL_TARGET':
    case 'SOURCE_UNKNOWN':
    case 'DESTINATION_UNKNOWN':
    case 'REFUSED_DESTINATION':
    case 'CONNECT_FAILED':
    case 'CONNECT_TIMEOUT':
    case 'BAD_REQUEST':
    case 'PEER_REFUSED':
    case 'STREAM_REFUSED':
    case 'TOO_MANY_CONNECTIONS':
      return 'CONNECT';
    case 'CONNECTION_LOST':
    case 'POD_GONE':
    case 'MEMORY_SCARCE':
    case 'DRAINED':
      return '-';
    default:
      return assertNever(code, 'proxy error code');
  }
}

/** Anything thrown, as a ProxyError; what is not one already failed to connect. */
export function toProxyError(error: unknown): ProxyError {
  if (error instanceof ProxyError) return error;
  return new ProxyError('CONNECT_FAILED', 'cannot connect', { cause: error });
}
