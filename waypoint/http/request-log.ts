import type { Workload } from '../../lib/mesh/state/model.ts';
import type { Service } from '../../proto/gen/loam/waypoint/v1/waypoint_pb.js';
import { serviceName } from '../state/policy-runtime.ts';
import {
  epochMs,
  type DryRunResult,
  type RequestRecord,
  type UpstreamEndpoint,
} from '../telemetry/request-record.ts';
import type { RequestTrace } from '../telemetry/request-trace.ts';
import type { WaypointFlag } from '../telemetry/response-flags.ts';
import { GrpcMessageCounter } from './grpc-messages.ts';
import type { HttpProtocol, Source } from '../../lib/mesh/waypoint/request.ts';

/** What is noted of a request while it goes its way, until it is told once at its end. */
export class RequestLog {
  readonly startMs = epochMs();
  readonly flags = new Set<WaypointFlag>();
  route: string | undefined;
  backend: Service | undefined;
  upstream: UpstreamEndpoint | undefined;
  upstreamMs: number | undefined;
  attempts = 0;
  deniedBy: string | undefined;
  allowedBy: string | undefined;
  dryRun: readonly DryRunResult[] = [];
  fallback = false;
  error: string | undefined;
  status = 0;
  grpcStatus: number | undefined;
  requestBytes = 0;
  responseBytes = 0;
  requestId = '';
  trace: RequestTrace | undefined;
  path = '';
  authority = '';
  readonly #requestMessages: GrpcMessageCounter | undefined;
  readonly #responseMessages: GrpcMessageCounter | undefined;
  readonly #protocol: HttpProtocol;

  constructor(protocol: HttpProtocol) {
    this.#protocol = protocol;
    if (protocol === 'grpc') {
      this.#requestMessages = new GrpcMessageCounter();
      this.#responseMessages = new GrpcMessageCounter();
    }
  }

  readonly onRequestChunk = (chunk: Buffer): void => {
    this.requestBytes += chunk.length;
    this.#requestMessages?.add(chunk);
  };

  readonly onResponseChunk = (chunk: Buffer): void => {
    this.responseBytes += chunk.length;
    this.#responseMessages?.add(chunk);
  };

  tried(address: string, workload: Workload | undefined, identity: string | undefined): void {
    this.upstream = { address, workload, identity };
  }

  /** All of it, at the end. */
  record(facts: {
    readonly source: Source;
    readonly service: Service;
    readonly method: string;
    readonly destinationAddress: string;
  }): RequestRecord {
    return {
      source: facts.source,
      requested: serviceName(facts.service),
      backend: this.backend && serviceName(this.backend),
      upstream: this.upstream,
      destinationAddress: facts.destinationAddress,
      route: this.route,
      method: facts.method,
      authority: this.authority,
      path: this.path,
      protocol: this.#protocol,
      status: this.status,
      grpcStatus: this.grpcStatus,
      flags: [...this.flags],
      startMs: this.startMs,
      durationMs: epochMs() - this.startMs,
      upstreamMs: this.upstreamMs,
      requestBytes: this.requestBytes,
      responseBytes: this.responseBytes,
      requestMessages: this.#requestMessages?.count ?? 0,
      responseMessages: this.#responseMessages?.count ?? 0,
      attempts: this.attempts,
      deniedBy: this.deniedBy,
      allowedBy: this.allowedBy,
      dryRun: this.dryRun,
      requestId: this.requestId,
      trace: this.trace,
      fallback: this.fallback,
      error: this.error,
    };
  }
}
