import type { SpanAttributes, SpanRecord } from '../../lib/mesh/telemetry/span.ts';
import { spiffeUri } from '../../lib/spiffe.ts';
import type { RequestRecord } from './request-record.ts';
import type { Attempt, RequestTrace } from './request-trace.ts';
import { knownMethod, printable } from './text.ts';

const MAX_TEXT = 256;
const MAX_PATH = 1_024;
/** gRPC statuses that a server span counts as its own failure (OpenTelemetry semantic conventions for gRPC). */
const GRPC_SERVER_FAILURES: ReadonlySet<number> = new Set([2, 4, 12, 13, 14, 15]);

/** The spans of a request: a server span, and a client span for each try. Empty when it is not recorded. */
export function spansOf(record: RequestRecord): SpanRecord[] {
  const { trace } = record;
  const { traceId, spanId } = trace ?? {};
  if (trace === undefined || traceId === undefined || spanId === undefined) return [];
  const ids = { trace, traceId, spanId };
  return [
    serverSpan(record, ids),
    ...trace.attempts.map((attempt, at) => clientSpan(record, ids, attempt, at)),
  ];
}

interface Ids {
  readonly trace: RequestTrace;
  readonly traceId: string;
  readonly spanId: string;
}

function serverSpan(record: RequestRecord, { trace, traceId, spanId }: Ids): SpanRecord {
  const { status, grpcStatus, source, upstream } = record;
  const failed =
    status >= 500 || status === 0 || (grpcStatus !== undefined && GRPC_SERVER_FAILURES.has(grpcStatus));
  const { host, port } = splitAuthority(record.authority);
  return {
    traceId,
    spanId,
    parentSpanId: trace.parentSpanId,
    parentIsRemote: true,
    tracestate: trace.tracestate,
    name: spanName(record, record.requested?.hostname),
    kind: 'server',
    startMs: record.startMs,
    endMs: record.startMs + record.durationMs,
    failed,
    message: failed && record.error !== undefined ? printable(record.error, MAX_TEXT) : undefined,
    attributes: defined({
      ...commonAttributes(record, grpcStatus),
      'url.path': printable(record.path, MAX_PATH),
      'url.scheme': 'http',
      'server.address': printable(host, MAX_TEXT),
      'server.port': port,
      'client.address': source.ip,
      'http.response.status_code': status === 0 ? undefined : status,
      'http.request.body.size': record.requestBytes,
      'http.response.body.size': record.responseBytes,
      'error.type': failed ? errorType(record.flags[0], status, grpcStatus) : undefined,
      'guid:x-request-id': record.requestId,
      'loam.service': record.requested?.hostname,
      'loam.backend': record.backend?.hostname,
      'loam.route': record.route,
      'loam.response_flags': record.flags.length === 0 ? undefined : [...record.flags],
      'loam.attempts': record.attempts,
      'loam.policy': record.deniedBy,
      'loam.source.identity': source.identity && spiffeUri(source.identity),
      'loam.source.workload': source.workload?.workloadName,
      'loam.source.namespace': source.workload?.namespace,
      'loam.destination.identity': upstream?.identity,
      'loam.destination.workload': upstream?.workload?.workloadName,
      'loam.destination.namespace': upstream?.workload?.namespace,
    }),
  };
}

function clientSpan(
  record: RequestRecord,
  { traceId, spanId }: Ids,
  attempt: Attempt,
  at: number,
): SpanRecord {
  const { status, grpcStatus, error } = attempt;
  const failed =
    error !== undefined ||
    status === undefined ||
    status >= 400 ||
    (grpcStatus !== undefined && grpcStatus !== 0);
  const { host, port } = splitAuthority(attempt.address ?? '');
  return {
    traceId,
    spanId: attempt.spanId,
    parentSpanId: spanId,
    parentIsRemote: false,
    tracestate: undefined,
    name: spanName(record, attempt.service),
    kind: 'client',
    startMs: attempt.startMs,
    endMs: attempt.endMs,
    failed,
    message: error === undefined ? undefined : printable(error, MAX_TEXT),
    attributes: defined({
      ...commonAttributes(record, grpcStatus),
      'server.address': attempt.service,
      'network.peer.address': host || undefined,
      'network.peer.port': port,
      'http.response.status_code': status,
      'http.request.resend_count': at === 0 ? undefined : at,
      'error.type': failed ? errorType(error, status ?? 0, grpcStatus) : undefined,
      'loam.route': record.route,
      'loam.destination.identity': attempt.identity,
    }),
  };
}

function commonAttributes(
  record: RequestRecord,
  grpcStatus: number | undefined,
): Record<string, string | number | undefined> {
  const grpc = record.protocol === 'grpc';
  return {
    'http.request.method': knownMethod(record.method),
    'network.protocol.name': 'http',
    'network.protocol.version': record.protocol === 'http1' ? '1.1' : '2',
    'network.transport': 'tcp',
    'rpc.system': grpc ? 'grpc' : undefined,
    'rpc.grpc.status_code': grpc ? grpcStatus : undefined,
  };
}

/** Few names: a path is the client's to choose, a Service is configured. */
function spanName(record: RequestRecord, service: string | undefined): string {
  const method = knownMethod(record.method);
  const verb = method === '_OTHER' ? 'HTTP' : method;
  return service === undefined ? verb : `${verb} ${service}`;
}

function errorType(flag: string | undefined, status: number, grpcStatus: number | undefined): string {
  if (flag !== undefined) return printable(flag, MAX_TEXT);
  return grpcStatus !== undefined && grpcStatus !== 0 ? `grpc ${grpcStatus}` : String(status);
}

/** `host`, `host:port` and `[v6]:port`. */
function splitAuthority(authority: string): { host: string; port: number | undefined } {
  const match = /^(.*):(\d{1,5})$/.exec(authority.slice(0, MAX_TEXT));
  if (match?.[1] === undefined) return { host: authority, port: undefined };
  return { host: match[1].replace(/^\[|\]$/g, ''), port: Number(match[2]) };
}

function defined(
  attributes: Readonly<Record<string, string | number | string[] | undefined>>,
): SpanAttributes {
  const entries = Object.entries(attributes).filter(
    (entry): entry is [string, string | number | string[]] => {
      return entry[1] !== undefined;
    },
  );
  return Object.fromEntries(entries);
}
