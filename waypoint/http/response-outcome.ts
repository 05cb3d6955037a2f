import type { Outcome } from '../resilience/outcome.ts';
import { header, type Headers } from '../../lib/mesh/waypoint/request.ts';

/** How an attempt came out, by the head of its response. */
export function outcomeOfHead(status: number, headers: Headers, ended: boolean): Outcome {
  const grpcStatus = header(headers, 'grpc-status');
  if (ended && grpcStatus !== undefined) return { kind: 'grpc-status', grpcStatus: Number(grpcStatus) };
  return { kind: 'status', status, retryAfter: header(headers, 'retry-after') };
}

/** Whether a response is good enough for the client as it is, so that neither retries nor a fallback are asked. */
export function isSuccess(outcome: Outcome): boolean {
  if (outcome.kind === 'grpc-status') return outcome.grpcStatus === 0;
  return outcome.kind === 'status' && outcome.status < 400;
}
