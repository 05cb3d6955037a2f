import type { Duplex } from 'node:stream';
import { ProxyError } from '../../lib/mesh/hbone/proxy-error.ts';

/** Makes connections to one endpoint: through its tunnel, or directly where it is not in the mesh. */
export interface Connector {
  /** @returns a byte stream, paused. @throws ProxyError; TOO_MANY_CONNECTIONS where a bound of ours admits none */
  connect(): Promise<Duplex>;
}

/** Whether the failure of a connection is no fault of its endpoint: a circuit breaker admits no further one. */
export function isOverBound(error: unknown): boolean {
  const cause = error instanceof ProxyError ? error : error instanceof Error ? error.cause : undefined;
  return cause instanceof ProxyError && cause.code === 'TOO_MANY_CONNECTIONS';
}

/** So long is a connection kept that carries no request, of either version of HTTP. */
export const IDLE_CONNECTION_MS = 60_000;
