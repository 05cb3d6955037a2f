import { readJsonLine, text, workload } from './access-log.ts';

/** A finished request as a waypoint logged it. */
export interface RequestLine {
  /** `namespace/pod` of the client; absent when the mesh knows no workload with that address. */
  readonly source?: string;
  /** Proved by the client's TLS handshake with the waypoint. */
  readonly sourceIdentity?: string;
  /** Host name of the Service that was called; absent for a workload's own address. */
  readonly service?: string;
  /** Host name of the Service that a route or the fallback chose in its place. */
  readonly backend?: string;
  /** `namespace/pod` that answered, or was tried last. */
  readonly destination?: string;
  /** Proved by its TLS handshake with the waypoint. */
  readonly destinationIdentity?: string;
  readonly method: string;
  readonly path: string;
  /** `HTTPRoute/namespace/name#rule` */
  readonly route?: string;
  /** The status that the client got; 0: none. */
  readonly status: number;
  /** Tries upstream; 0: none was made. */
  readonly attempts: number;
  /** The fallback Service answered. */
  readonly fallback: boolean;
  readonly flags: readonly string[];
  /** That denied it, `namespace/name`. */
  readonly policy?: string;
  readonly error?: string;
  readonly durationMs: number;
}

/** Reads one line of a waypoint's log; undefined when it is not the end of an HTTP request. */
export function parseRequestLine(json: string): RequestLine | undefined {
  const line = readJsonLine(json);
  if (line?.['scope'] !== 'access' || line['direction'] !== 'waypoint') return undefined;
  const { response_code: status, attempts } = line;
  if (typeof status !== 'number') return undefined;
  const optional = {
    source: workload(line, 'src'),
    sourceIdentity: text(line['src.identity']),
    service: text(line['dst.service']),
    backend: text(line['dst.backend']),
    destination: workload(line, 'dst'),
    destinationIdentity: text(line['dst.identity']),
    route: text(line['route']),
    policy: text(line['policy']),
    error: text(line['error']),
  };
  return {
    method: text(line['method']) ?? '?',
    path: text(line['path']) ?? '?',
    status,
    attempts: typeof attempts === 'number' ? attempts : 0,
    fallback: line['fallback'] === 'true',
    flags: text(line['response_flags'])?.split(',') ?? [],
    durationMs: parseFloat(text(line['duration']) ?? '0') || 0,
    ...(Object.fromEntries(
      Object.entries(optional).filter(([, value]) => value !== undefined),
    ) as Partial<RequestLine>),
  };
}
