import type { Workload } from '../../lib/mesh/state/model.ts';
import type { HttpProtocol, Source } from '../../lib/mesh/waypoint/request.ts';
import type { RequestTrace } from './request-trace.ts';
import type { WaypointFlag } from './response-flags.ts';

/** A Service by its names; `hostname` is the fully qualified one. */
export interface ServiceName {
  readonly name: string;
  readonly namespace: string;
  readonly hostname: string;
}

/** An endpoint that was tried. */
export interface UpstreamEndpoint {
  /** `ip:port` of the application, not of the tunnel. */
  readonly address: string;
  readonly workload: Workload | undefined;
  /** SPIFFE URI that the TLS handshake proved; undefined when there was none. */
  readonly identity: string | undefined;
}

/** What a policy in dry-run mode would have done. */
export interface DryRunResult {
  /** `namespace/name`. */
  readonly policy: string;
  readonly action: 'allow' | 'deny';
}

/**
 * All that the HTTP engine tells of a request once it has ended, whichever way. No header value and no body is in it, but
 * for the request id and the trace's ids. Bytes are those of bodies, as they were on the wire.
 */
export interface RequestRecord {
  readonly source: Source;
  /** The Service that the client dialled; undefined for a workload's own address. */
  readonly requested: ServiceName | undefined;
  /** The Service whose endpoint was chosen, by a route, by the fallback or as dialled; undefined when none was. */
  readonly backend: ServiceName | undefined;
  /** The endpoint that answered, else the last that was tried. */
  readonly upstream: UpstreamEndpoint | undefined;
  /** `ip:port` that the client dialled. */
  readonly destinationAddress: string;
  /** `HTTPRoute/<namespace>/<name>#<rule>`, from the configuration only; undefined when no route matched. */
  readonly route: string | undefined;
  readonly method: string;
  readonly authority: string;
  /** Without query. Only the log and spans show it, cut and escaped. */
  readonly path: string;
  readonly protocol: HttpProtocol;
  /** Status that the client got; 0: it got none. */
  readonly status: number;
  /** Only for gRPC, from trailers or headers. */
  readonly grpcStatus: number | undefined;
  readonly flags: readonly WaypointFlag[];
  /** Beginning, ms since the epoch with fractions, see {@link epochMs}. */
  readonly startMs: number;
  readonly durationMs: number;
  /** From the last try's beginning to the first byte of its response. */
  readonly upstreamMs: number | undefined;
  readonly requestBytes: number;
  readonly responseBytes: number;
  /** Messages of a gRPC stream; 0 for others. */
  readonly requestMessages: number;
  readonly responseMessages: number;
  /** Tries upstream, the first included; 0: none was made. */
  readonly attempts: number;
  /** The policy that denied, `namespace/name`. */
  readonly deniedBy: string | undefined;
  /** The policy that let it in; undefined: none applies, or it was refused. */
  readonly allowedBy: string | undefined;
  readonly dryRun: readonly DryRunResult[];
  readonly requestId: string;
  /** undefined where the request broke before its headers were whole. */
  readonly trace: RequestTrace | undefined;
  /** Whether the fallback Service gave the response. */
  readonly fallback: boolean;
  /** What went wrong, in one line; undefined when nothing did. */
  readonly error: string | undefined;
}

/** What is told of an opaque TCP connection once it has ended. */
export interface ConnectionRecord {
  readonly source: Source;
  readonly requested: ServiceName | undefined;
  readonly backend: ServiceName | undefined;
  readonly upstream: UpstreamEndpoint | undefined;
  readonly destinationAddress: string;
  readonly flags: readonly WaypointFlag[];
  readonly durationMs: number;
  /** From the client. */
  readonly requestBytes: number;
  /** To the client. */
  readonly responseBytes: number;
  readonly deniedBy: string | undefined;
  readonly error: string | undefined;
}

/** Now, in ms since the epoch with fractions: steady within a process, so that a span never ends before it began. */
export function epochMs(): number {
  return performance.timeOrigin + performance.now();
}
