import type { FlowFacts, RequestEnded, Verdict } from '../../lib/flow/event.ts';
import { partyOf } from '../../lib/flow/party.ts';
import type { FlowRecorder } from '../../lib/flow/recorder.ts';
import { parseHostPort } from '../../lib/mesh/hbone/host-port.ts';
import { spiffeUri } from '../../lib/spiffe.ts';
import type { ConnectionRecord, RequestRecord, ServiceName } from './request-record.ts';
import type { WaypointFlag } from './response-flags.ts';
import { printable } from './text.ts';

const MAX_PATH = 1_024;
const MAX_AUTHORITY = 256;
const MAX_METHOD = 32;
const MAX_ERROR = 512;

/** Flags of what a rule forbids. */
const DENIALS: ReadonlySet<WaypointFlag> = new Set<WaypointFlag>(['DENY', 'JWT']);

/** Tells the flow stream of a request that ended; ask for it only while somebody watches. */
export function tellRequest(recorder: FlowRecorder, record: RequestRecord): void {
  const facts = factsOf(record, record.route);
  const edge = recorder.edge('request', facts);
  const { flags, status } = record;
  const traceId = record.trace?.traceId;
  const isDenied = flags.some((flag) => DENIALS.has(flag));
  edge.ended += 1;
  edge.up += record.requestBytes;
  edge.down += record.responseBytes;
  edge.retries += Math.max(0, record.attempts - 1);
  edge.codes.add(record.protocol === 'grpc' ? `grpc-${record.grpcStatus ?? 'none'}` : String(status));
  for (const flag of flags) edge.flags.add(flag);
  if (isDenied) edge.denied.add(record.deniedBy ?? '');
  else {
    edge.allowed.add(record.allowedBy ?? '');
    if (status === 0 || status >= 500 || (record.protocol === 'grpc' && (record.grpcStatus ?? 0) !== 0))
      edge.failed += 1;
    edge.durations.add(record.durationMs);
  }
  recorder.event((): RequestEnded => ({
    kind: 'request',
    at: Math.round(record.startMs + record.durationMs),
    ...facts,
    protocol: record.protocol,
    method: printable(record.method, MAX_METHOD),
    authority: printable(record.authority, MAX_AUTHORITY),
    path: printable(record.path, MAX_PATH),
    status,
    ...(record.protocol === 'grpc' && record.grpcStatus !== undefined && { grpcStatus: record.grpcStatus }),
    ...(flags.length > 0 && { flags }),
    durationMs: inMicroseconds(record.durationMs),
    ...(record.upstreamMs !== undefined && { upstreamMs: inMicroseconds(record.upstreamMs) }),
    up: record.requestBytes,
    down: record.responseBytes,
    attempts: record.attempts,
    ...(record.fallback && { fallback: true as const }),
    verdict: verdictOf(isDenied, record.deniedBy, record.allowedBy, record.error, record.dryRun),
    ...(record.error !== undefined && { error: printable(record.error, MAX_ERROR) }),
    requestId: record.requestId,
    ...(traceId !== undefined && { trace: traceId }),
  }));
}

/** The same for an opaque connection. */
export function tellConnection(recorder: FlowRecorder, record: ConnectionRecord): void {
  const facts = factsOf(record, undefined);
  const edge = recorder.edge('connection', facts);
  const isDenied = record.flags.some((flag) => DENIALS.has(flag));
  const opened = record.upstream !== undefined && !isDenied;
  edge.ended += 1;
  edge.opened += opened ? 1 : 0;
  edge.up += record.requestBytes;
  edge.down += record.responseBytes;
  for (const flag of record.flags) edge.flags.add(flag);
  if (isDenied) edge.denied.add(record.deniedBy ?? '');
  else if (record.error !== undefined) edge.failed += 1;
  if (opened) edge.durations.add(record.durationMs);
  recorder.event(() => ({
    kind: 'ended',
    id: 0,
    at: Date.now(),
    ...facts,
    opened,
    durationMs: inMicroseconds(record.durationMs),
    up: record.requestBytes,
    down: record.responseBytes,
    verdict: verdictOf(isDenied, record.deniedBy, undefined, record.error, []),
    ...(record.flags.length > 0 && { flag: record.flags.join(',') }),
    ...(record.error !== undefined && { error: printable(record.error, MAX_ERROR) }),
  }));
}

function factsOf(
  ends: Pick<RequestRecord, 'source' | 'requested' | 'backend' | 'upstream' | 'destinationAddress'>,
  route: string | undefined,
): FlowFacts {
  const { source, requested, backend, upstream } = ends;
  const address = parseHostPort(upstream?.address ?? ends.destinationAddress);
  return {
    side: 'waypoint',
    source: partyOf(source.workload, source.identity && spiffeUri(source.identity), source),
    destination: partyOf(upstream?.workload, upstream?.identity, address),
    ...(requested && { service: nameOf(requested) }),
    ...(backend && backend.hostname !== requested?.hostname && { backend: nameOf(backend) }),
    ...(route !== undefined && { route }),
    // Nobody comes to a waypoint but through HBONE.
    mtls: source.identity !== undefined,
  };
}

function verdictOf(
  isDenied: boolean,
  deniedBy: string | undefined,
  allowedBy: string | undefined,
  error: string | undefined,
  dryRun: RequestRecord['dryRun'],
): Verdict {
  const policy = isDenied ? deniedBy : allowedBy;
  return {
    allowed: !isDenied,
    ...(policy !== undefined && { policy }),
    ...(isDenied && error !== undefined && { reason: printable(error, MAX_ERROR) }),
    ...(dryRun.length > 0 && { trial: dryRun }),
  };
}

function nameOf({ namespace, name, hostname }: ServiceName): string {
  return `${namespace}/${name || hostname}`;
}

function inMicroseconds(ms: number): number {
  return Math.round(ms * 1000) / 1000;
}
