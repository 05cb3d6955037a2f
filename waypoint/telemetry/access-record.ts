import { hostPortText } from '../../lib/mesh/hbone/host-port.ts';
import type { AccessRecord } from '../../lib/mesh/telemetry/access-log.ts';
import { spiffeUri } from '../../lib/spiffe.ts';
import type { Source } from '../../lib/mesh/waypoint/request.ts';
import type { ConnectionRecord, RequestRecord, ServiceName, UpstreamEndpoint } from './request-record.ts';
import type { WaypointFlag } from './response-flags.ts';
import { printable } from './text.ts';

const MAX_METHOD = 32;
const MAX_AUTHORITY = 256;
const MAX_PATH = 1_024;
const MAX_ERROR = 512;
const MAX_DRY_RUN = 1_024;

/** The application answered, if late or from elsewhere. */
const NORMAL: ReadonlySet<WaypointFlag> = new Set<WaypointFlag>(['DI', 'FB']);
/** The client's doing, or a rule that did what it is for. */
const EXPECTED: ReadonlySet<WaypointFlag> = new Set<WaypointFlag>([
  'DENY',
  'JWT',
  'RL',
  'FI',
  'DC',
  'DPE',
  'NR',
]);

/** The level of the line, to be asked before the line is made. */
export function lineLevel(record: {
  readonly flags: readonly WaypointFlag[];
  readonly error: string | undefined;
}): AccessRecord['level'] {
  const { flags, error } = record;
  if (flags.length > 0) {
    const notable = flags.filter((flag) => !NORMAL.has(flag));
    if (notable.length > 0) return notable.every((flag) => EXPECTED.has(flag)) ? 'warn' : 'error';
  }
  return error === undefined ? 'info' : 'error';
}

/** The line for a request that ended. `bytes_sent` is what the client got, as on the server's side of ztunnel. */
export function requestLine(record: RequestRecord): AccessRecord {
  const { trace } = record;
  return {
    level: lineLevel(record),
    message: record.attempts > 0 || record.flags.length === 0 ? 'request complete' : 'request refused',
    fields: {
      ...endpointFields(record),
      method: printable(record.method, MAX_METHOD),
      authority: printable(record.authority, MAX_AUTHORITY),
      path: printable(record.path, MAX_PATH),
      protocol: record.protocol,
      route: record.route,
      response_code: record.status,
      grpc_status: record.protocol === 'grpc' ? record.grpcStatus : undefined,
      bytes_sent: record.responseBytes,
      bytes_recv: record.requestBytes,
      duration: milliseconds(record.durationMs),
      upstream_duration: record.upstreamMs === undefined ? undefined : milliseconds(record.upstreamMs),
      attempts: record.attempts,
      fallback: record.fallback ? 'true' : undefined,
      error: record.error === undefined ? undefined : printable(record.error, MAX_ERROR),
      response_flags: record.flags.length === 0 ? undefined : record.flags.join(','),
      policy: record.deniedBy,
      dry_run: dryRun(record),
      request_id: record.requestId,
      trace: trace?.traceId,
      span: trace?.spanId,
    },
  };
}

/** The line for an opaque TCP connection that ended. */
export function connectionLine(record: ConnectionRecord): AccessRecord {
  const opened = record.upstream !== undefined && record.deniedBy === undefined;
  return {
    level: lineLevel(record),
    message: opened ? 'connection complete' : 'connection failed',
    fields: {
      ...endpointFields(record),
      protocol: 'tcp',
      bytes_sent: record.responseBytes,
      bytes_recv: record.requestBytes,
      duration: milliseconds(record.durationMs),
      error: record.error === undefined ? undefined : printable(record.error, MAX_ERROR),
      response_flags: record.flags.length === 0 ? undefined : record.flags.join(','),
      policy: record.deniedBy,
    },
  };
}

interface Ends {
  readonly source: Source;
  readonly requested: ServiceName | undefined;
  readonly backend: ServiceName | undefined;
  readonly upstream: UpstreamEndpoint | undefined;
  readonly destinationAddress: string;
}

function endpointFields(ends: Ends): Record<string, string | undefined> {
  const { source, requested, backend, upstream } = ends;
  const from = source.workload;
  const to = upstream?.workload;
  return {
    'src.addr': hostPortText(source),
    'src.workload': from?.name,
    'src.namespace': from?.namespace,
    'src.identity': source.identity && spiffeUri(source.identity),
    'src.cluster': from?.clusterId || undefined,
    'dst.addr': ends.destinationAddress,
    'dst.service': requested?.hostname,
    // Only where a route or the fallback led elsewhere.
    'dst.backend': backend?.hostname === requested?.hostname ? undefined : backend?.hostname,
    upstream_addr: upstream?.address,
    'dst.workload': to?.name,
    'dst.namespace': to?.namespace,
    'dst.identity': upstream?.identity,
    'dst.cluster': to?.clusterId || undefined,
    direction: 'waypoint',
  };
}

function dryRun({ dryRun: results }: RequestRecord): string | undefined {
  if (results.length === 0) return undefined;
  return printable(results.map(({ policy, action }) => `${policy}=${action}`).join(','), MAX_DRY_RUN);
}

function milliseconds(ms: number): string {
  return `${Math.round(ms)}ms`;
}
