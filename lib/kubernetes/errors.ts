import { LoamError } from '../loam-error.ts';

export type KubeApiErrorCode =
  /** The server answered with a status other than 2xx; `status` and `reason` say which. */
  | 'KUBE_STATUS'
  /** No answer: no connection, TLS that fails, a connection that was lost. */
  | 'KUBE_CONNECT'
  /** No answer, or no further byte of it, in time. */
  | 'KUBE_TIMEOUT'
  /** The answer is larger than allowed. */
  | 'KUBE_TOO_LARGE'
  /** The answer is not what the API promises. */
  | 'KUBE_MALFORMED'
  /** The files of token, certificate or authority cannot be read. */
  | 'KUBE_CREDENTIALS'
  /** The client was closed, or the caller's signal aborted. */
  | 'KUBE_CLOSED';

export interface KubeApiErrorDetails {
  /** HTTP status, where there was an answer. */
  readonly status?: number | undefined;
  /** Of the API's Status object: `NotFound`, `Conflict`, `AlreadyExists`, `Expired`, `Forbidden`, ... */
  readonly reason?: string | undefined;
  readonly path: string;
  /** How long the server asks to be left alone (Retry-After), in milliseconds. */
  readonly retryAfterMs?: number | undefined;
  readonly cause?: unknown;
}

/** A request to the Kubernetes API that did not succeed. */
export class KubeApiError extends LoamError<KubeApiErrorCode> {
  readonly status: number | undefined;
  readonly reason: string | undefined;
  readonly path: string;
  readonly retryAfterMs: number | undefined;

  constructor(code: KubeApiErrorCode, message: string, details: KubeApiErrorDetails) {
    super(code, message, details.cause === undefined ? undefined : { cause: details.cause });
    this.status = details.status;
    this.reason = details.reason;
    this.path = details.path;
    this.retryAfterMs = details.retryAfterMs;
  }
}

/** True for an answer of the API with this HTTP status. */
export function hasStatus(error: unknown, status: number): error is KubeApiError {
  return error instanceof KubeApiError && error.status === status;
}

/** What the API answers; undefined where it says that there is no such object (404). Every other error is thrown. */
export async function orAbsent<T>(answer: Promise<T>): Promise<T | undefined> {
  try {
    return await answer;
  } catch (error) {
    if (hasStatus(error, 404)) return undefined;
    throw error;
  }
}
