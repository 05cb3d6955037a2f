import { randomBytes } from 'node:crypto';

const POOL_BYTES = 4_096;
let pool: Buffer = Buffer.alloc(0);
let at = 0;

/** 16 random bytes in hex, never all zero (W3C Trace Context section 3.2.2.3). */
export function newTraceId(): string {
  return randomHex(16);
}

/** 8 random bytes in hex, never all zero. */
export function newSpanId(): string {
  return randomHex(8);
}

function randomHex(bytes: number): string {
  // One call to the system's generator serves many ids: it costs more than all else that a span needs.
  if (at + bytes > pool.length) {
    pool = randomBytes(POOL_BYTES);
    at = 0;
  }
  const id = pool.toString('hex', at, at + bytes);
  at += bytes;
  return /^0+$/.test(id) ? randomHex(bytes) : id;
}

/**
 * Whether a new trace is recorded: the same answer for the same trace id everywhere, by OpenTelemetry's consistent
 * probability sampling (the rightmost 56 bits against a threshold; here the upper 52 of them, exact in a double).
 *
 * @param ratio 0 to 1
 */
export function sampledByRatio(traceId: string, ratio: number): boolean {
  const randomness = Number.parseInt(traceId.slice(18, 31), 16);
  return randomness >= (1 - ratio) * 2 ** 52;
}
