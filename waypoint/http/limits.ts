/** Bounds on what one client may make the waypoint hold or wait for. Documented in docs/waypoint-limits.md. */
export interface HttpLimits {
  /** All header lines of one message together. */
  readonly maxHeaderBytes: number;
  readonly maxHeaders: number;
  /** What HTTP/2 makes a client's budget pay for, in heads and in bytes; at least the two above, which are answered with 431. */
  readonly maxHeaderBytesRead: number;
  readonly maxHeadersRead: number;
  /** From the first byte of a request to the end of its headers. */
  readonly headersTimeoutMs: number;
  /** Requests at once on one HTTP/2 connection. */
  readonly maxConcurrentStreams: number;
  /** Longest `:path` or request target. */
  readonly maxTargetBytes: number;
  /** No byte of a request's body or of its response for so long: it is given up. */
  readonly streamIdleTimeoutMs: number;
  /** A connection without a request for so long is closed. */
  readonly connectionIdleTimeoutMs: number;
  /** How long a client that speaks first is waited for before the connection counts as opaque. */
  readonly detectTimeoutMs: number;
  /**
   * Streams that a client may reset at once, and per second, before its connection is ended. Clients of gRPC reset what
   * exceeds its deadline, some hundred a second; against floods there is moreover a budget for each peer (decision 0105).
   */
  readonly resetBurst: number;
  readonly resetRatePerS: number;
}

export const HTTP_LIMITS: HttpLimits = {
  maxHeaderBytes: 60 * 1024,
  maxHeaders: 200,
  maxHeaderBytesRead: 128 * 1024,
  maxHeadersRead: 800,
  headersTimeoutMs: 15_000,
  maxConcurrentStreams: 250,
  maxTargetBytes: 16 * 1024,
  streamIdleTimeoutMs: 300_000,
  connectionIdleTimeoutMs: 3_600_000,
  detectTimeoutMs: 100,
  resetBurst: 2_000,
  resetRatePerS: 1_000,
};

/** 1xx responses that an endpoint may send before the final one. */
export const MAX_INTERIM_RESPONSES = 32;
